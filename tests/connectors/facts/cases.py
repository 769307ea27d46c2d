"""The cases of our own that facts are taken for."""

CONFIG = {
    "null": None, "n": 5, "neg": -7, "f": 1.5, "whole": 2.0, "s": "x", "text": "Hello World, hello", "empty": "", "zero": 0, "yes": True, "no": False,
    "l": [3, 1, 2], "mixed": [1, "b'c", None, 1.5, True], "words": ["pear", "Apple", "fig"], "d": {"k": "v", "deep": {"er": [10, 20]}}, "e": {}, "el": [],
    "start": "2024-01-31T10:20:30Z", "day": "2024-02-29", "unicode": "Zoë 東京 🦀", "quote": "it's \"q\"", "lines": "a\nb\n", "number_text": "42", "float_text": "1.50",
    "padded": "  x  ", "csv": "a,b,,c", "url": "https://a.example/p?q=1&r=ü#f", "big": 1234567890123456789, "json": "{\"a\": [1, true, null]}", "snake": "CamelCaseText",
}
PARAMETERS = {"name": "things", "nested": {"a": 1}}
NAMES = {
    "record": {"id": 7, "name": "Käse", "price": 9.99, "tags": ["a", "b"], "owner": {"id": 1, "mail": None}, "at": "2024-03-01T00:00:00+02:00", "items": [{"k": "x", "v": 1}, {"k": "y", "v": 20}]},
    "response": {"next": None, "page": 1, "total_pages": 3, "links": {"next": "https://a.example/?page=2&x=1"}, "data": [{"id": 1}], "has_more": True},
    "headers": {"X-Next": "abc", "link": {"next": {"url": "https://a.example/n", "rel": "next"}}},
    "stream_slice": {"start_time": "2024-01-01", "end_time": "2024-01-31", "parent_id": 3},
    "next_page_token": {"next_page_token": 2},
    "last_record": {"id": 7},
    "last_page_size": 10,
}

LITERALS = """7|-7|+7| 7|7 |007|0|00|0x10|0X1f|0o17|0b101|0b2|1_000|1__0|_1|1_|1e3|1E-3|1e400|-1e400|.5|5.|1.50|-0.0|1.0e+2|--1|- 1|1 2|1,2|(1,2)|(1,)|()|[]|[1,2]|[1, 'a', None]|[1,,2]|[1 2]|{}|{'a': 1}|{"a": [1, {"b": null}]}
{'a': 1, 'a': 2}|{1, 2}|{1, 1}|set()|{[1]: 2}|{'a'}|{(1,2): 3}|True|False|None|true|false|null|none|NaN|nan|inf|Infinity|'x'|"x"|'x|x'|'it''s'|'a' 'b'|"a" 'b'|b'x'|b"\\x00"|r'\\n'|u'x'|f'x'|'\\n'|'\\t'|'\\x41'|'\\u00e9'|'\\U0001F980'|'\\ud83e\\udd80'|'\\101'|'\\q'|'\\\\'|'\\''|'''a'''|\"\"\"a\"\"\"|\"\"\"a\"b\"\"\"|'a\\
b'|1+2|1+2j|2j|1-2|3*4|not 1|True and False|abc|a.b|1.2.3|2024-01-01|2024-01-01T00:00:00Z|10:30|1/2|50%|$5|#5|5 # five|#|@x|x=1|lambda: 1|...|Ellipsis|print(1)|[1][0]|{'a':1}['a']|1 if 1 else 2|(1)|((1))|[[[[1]]]]|[1,]|(1 , )|{1:2,}|{'a':}|"unclosed|[1|(1|{|}|]|)|,|1,|'a',|,1|:|;|5;|\\|~1|!x|*|é|"é"|٣|１|1e|1e+|0x|0b|1.e5|1.5e-7|123456789012345678901234567890|0.1|100000000000000000.0|1e16|1e15|123456.789e3|[True, false]|[true]|{"a": true}|{'a': True}|-'a'|+[1]|-True|-None|- -5|+-5|1 \t|\t1|x 1"""
TEMPLATES = [text for line in LITERALS.split("\n") for text in line.split("|")] + ["'a|b'", " ", "\n", "5\n", "\n5", "a\n", "a\n\n", "a\r\nb", "[1,\n2]", "(1\n)", "1\n2", "1\r\n", "\"\"\"a\nb\"\"\"", "'a\nb'"]

# What is printed, and what becomes of it
TEMPLATES += ["{{ config['%s'] }}" % name for name in CONFIG]
TEMPLATES += ["{{ config.%s }}" % name for name in ("n", "d", "l", "text", "absent")]
TEMPLATES += ["x{{ config['%s'] }}y" % name for name in CONFIG]
TEMPLATES += ["{{ config['%s'] | string }}" % name for name in CONFIG]
TEMPLATES += ["{{ config['%s'] | tojson }}" % name for name in ("n", "f", "s", "l", "mixed", "d", "unicode", "quote", "null", "yes", "empty")]
for name in ("int", "float", "length", "lower", "upper", "trim", "title", "capitalize", "list", "first", "last", "abs", "hash", "base64encode", "urlencode", "default('D')", "default('D', true)", "join('-')", "sort", "reverse | list", "unique | list", "max", "min", "sum", "string | length", "replace('x', 'y')", "round", "count", "e", "escape", "safe", "wordcount", "items | list", "dictsort", "batch(2) | list", "string | upper"):
    TEMPLATES += ["{{ config['%s'] | %s }}" % (of, name) for of in ("n", "neg", "f", "whole", "s", "text", "empty", "null", "yes", "l", "words", "d", "el", "unicode", "number_text", "float_text", "padded", "absent")]


def pieces(block):
    """The templates of a text, one a line."""
    return [line for line in block.strip("\n").split("\n") if line]


TEMPLATES += pieces(r"""
{{ '12' | int }}
{{ '12abc' | int }}
{{ '12abc' | int(-1) }}
{{ '0x1A' | int(0, 16) }}
{{ '1a' | int(base=16) }}
{{ '101' | int(base=2) }}
{{ ' 12 ' | int }}
{{ '1.9' | int }}
{{ '-1.9' | int }}
{{ 1.9 | int }}
{{ '1e3' | int }}
{{ 'x' | float(2.5) }}
{{ 3 | float }}
{{ '3' | float + 1 }}
{{ '1_000' | int }}
{{ true | int }}
{{ none | int }}
{{ none | int(9) }}
{{ [1] | int }}
{{ 'inf' | float }}
{{ 'nan' | float }}
{{ 2.675 | round(2) }}
{{ 2.5 | round }}
{{ 3.5 | round | int }}
{{ 7.7 | round(0, 'floor') }}
{{ 7.2 | round(method='ceil') }}
{{ 1234.5678 | round(-2) }}
{{ 7 | round }}
{{ 'a-b-c' | replace('-', '+', 1) }}
{{ 'aaa' | replace('a', 'b') }}
{{ 5 | replace('5', '6') }}
{{ 'abcdefghij' | truncate(5) }}
{{ 'hello world foo bar' | truncate(11) }}
{{ 'abc' | center(7) }}
{{ '<b>x</b>' | striptags }}
{{ '<a&b>' | escape }}
{{ '%s is %s' | format('a', 1) }}
{{ 'abc' | reverse }}
{{ 'abc' | list }}
{{ 'abc' | first }}
{{ 'abc' | last }}
{{ 'a\nb' | indent(2) }}
{{ [1, 2, 3] | sum }}
{{ [1.5, 2] | sum }}
{{ config['l'] | sort(reverse=true) }}
{{ config.words | sort }}
{{ config.words | sort(case_sensitive=true) }}
{{ record['items'] | map(attribute='k') | join(',') }}
{{ record['items'] | map(attribute='k') | list }}
{{ record['items'] | map(attribute='nope') | list }}
{{ record['items'] | map(attribute='nope', default='d') | list }}
{{ record['items'] | sum(attribute='v') }}
{{ record['items'] | selectattr('v', 'equalto', 20) | list }}
{{ record['items'] | selectattr('v', '>', 5) | map(attribute='k') | first }}
{{ record['items'] | rejectattr('v', 'gt', 5) | list }}
{{ record['items'] | selectattr('k', 'in', ['x']) | list | length }}
{{ record['items'] | selectattr('k', '==', 'y') | map(attribute='v') | first | default('none') }}
{{ record['items'] | selectattr('k', '==', 'zz') | map(attribute='v') | first | default('none') }}
{{ [1, 2, 3, 4] | select('even') | list }}
{{ [1, 2, 3, 4] | reject('odd') | list }}
{{ [0, 1, '', none] | select | list }}
{{ ['a', 'B'] | map('upper') | list }}
{{ ['1', '2'] | map('int') | sum }}
{{ record['items'] | sort(attribute='v', reverse=true) | map(attribute='k') | list }}
{{ ['a', 'A', 'b'] | unique | list }}
{{ [1, 2, 3, 4, 5] | batch(2) | list }}
{{ [1, 2, 3, 4, 5] | batch(2, 0) | list }}
{{ [1, 2, 3, 4, 5] | slice(2) | list }}
{{ record['items'] | max(attribute='v') }}
{{ ['b', 'A'] | max }}
{{ [] | max }}
{{ [] | first }}
{{ [] | first | default('none') }}
{{ {'b': 1, 'a': 2} | dictsort }}
{{ {'b': 1, 'a': 2}.keys() | list }}
{{ {'b': 1, 'a': 2}.values() | list }}
{{ {'b': 1, 'a': 2}.items() | list }}
{{ {'a': 1} | items | list }}
{{ record | list }}
{{ config.csv.split(',') | map('length') | list }}
{{ 'abc' | hash('sha1') }}
{{ 'abc' | hash('sha512') | length }}
{{ 5 | hash }}
{{ none | hash }}
{{ config.d | hash }}
{{ 'abc' | hash('md5', 'salt') }}
{{ 'abc' | hash('nope') }}
{{ 'abc' | hmac('key') }}
{{ 'abc' | hmac('key', 'md5') }}
{{ 'é' | base64encode }}
{{ 'w6k=' | base64decode }}
{{ 'abc' | base64binascii_decode }}
{{ 5 | base64encode }}
{{ (config.s ~ ':' ~ config.text) | base64encode }}
{{ 'page=12&x' | regex_search('page=(\\d+)') }}
{{ 'page=12&x' | regex_search('page=\\d+') }}
{{ 'none' | regex_search('(\\d)') }}
{{ 'a1b2' | regex_search('([a-z])(\\d)') }}
{{ 'abc' | regex_search('(?P<x>b)') }}
{{ 'AbC' | regex_search('(?i)(abc)') }}
{{ 'a1b2' | regex_replace('[0-9]', '#') }}
{{ 'ab' | regex_replace('(a)(b)', '\\2\\1') }}
{{ 'ab' | regex_replace('x', 'y') }}
{{ response.links.next | regex_search('[?&]page=([^&]+)') }}
{{ '' | regex_search('(.*)') }}
{{ '{"next":"abc"}' | regex_search('{"next":"([^"]+)"}') }}
{{ 'a{1}' | regex_search('a{(\\d)}') }}
{{ 'aab' | regex_search('a{2}(b)') }}
{{ '[in]' | regex_search('[[](.+)[]]') }}
{{ '<https://x/?page=2>; rel="next"' | regex_search('<(.*)>; rel="next"') }}
{{ 'a&&b' | regex_search('([a&&b]+)') }}
{{ 'x\ny' | regex_search('x$(.*)') }}
{{ 'line' | regex_search('^(l)') }}
{{ 'cursor=abc&b' | regex_search('cursor=(?P<c>[^&]*)') }}
{{ 'é1' | regex_search('(\\w+)') }}
{{ 'ab' | regex_search('(a(b))') }}
{{ 'A' | regex_search('(?i)(a)') }}
{{ 'a/b' | regex_search('a\\/(b)') }}
{{ 'a-b' | regex_search('a\\-(b)') }}
{{ 'x' | regex_search('([') }}
{{ 'x' | regex_search('(a)?x') }}
{{ 'a b/c?d=é&e' | urlencode }}
{{ {'a': 'é', 'b': none} | urlencode }}
{{ 5 | urlencode }}
{{ '{"a": 1}' | tojson }}
{{ {'b': 1, 'a': [true, none]} | tojson }}
{{ 'é' | tojson }}
{{ '</script>' | tojson }}
{{ {'a': 'é'} | string }}
{{ '5' | string }}
{{ 5 | string }}
{{ [1, 'a'] | string }}
{{ none | string }}
{{ 1 + 2 }}
{{ 1 - 2 }}
{{ 2 * 3 }}
{{ 7 / 2 }}
{{ 6 / 2 }}
{{ 7 // 2 }}
{{ -7 // 2 }}
{{ 7 // -2 }}
{{ 7.5 // 2 }}
{{ 7 % 3 }}
{{ -7 % 3 }}
{{ 7 % -3 }}
{{ -7.5 % 2 }}
{{ 2 ** 10 }}
{{ 2 ** -1 }}
{{ 2 ** 0.5 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ 0.1 + 0.2 }}
{{ 1e3 }}
{{ 1_000 }}
{{ 1e22 }}
{{ 9007199254740993 + 1 }}
{{ config.big + 1 }}
{{ config.big * 10 }}
{{ config.f * 2 }}
{{ config.whole }}
{{ config.n + config.f }}
{{ 'a' + 'b' }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] }}
{{ 'a' * 3 }}
{{ [1] * 2 }}
{{ [1] + [2] }}
{{ (1, 2) + (3,) }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ none + 1 }}
{{ [1] + 1 }}
{{ -config.n }}
{{ +config.n }}
{{ -'a' }}
{{ 'a' - 'b' }}
{{ true + true }}
{{ 1 == 1.0 }}
{{ '1' == 1 }}
{{ true == 1 }}
{{ none == false }}
{{ [1, 2] == [1, 2] }}
{{ {'a': 1} == {'a': 1.0} }}
{{ (1, 2) == [1, 2] }}
{{ 1 < 2 < 3 }}
{{ 1 < 3 < 2 }}
{{ 'a' < 'b' }}
{{ 'a' < 1 }}
{{ none < 1 }}
{{ [1, 2] < [1, 3] }}
{{ 1 != 2 }}
{{ 'a' in 'abc' }}
{{ 'z' not in 'abc' }}
{{ 1 in [1, 2] }}
{{ '1' in [1, 2] }}
{{ 'k' in config.d }}
{{ 1 in 5 }}
{{ none in [none] }}
{{ true and 0 }}
{{ 0 or 'x' }}
{{ '' or none or 'last' }}
{{ not '' }}
{{ not config.l }}
{{ 'a' if config.yes else 'b' }}
{{ 'a' if config.absent else 'b' }}
{{ 'a' if config.absent }}
{{ config.absent if config.absent is defined else 'd' }}
{{ 'x' if 'k' in config.d and config.d.k == 'v' else 'y' }}
{{ config.absent }}
{{ config['absent'] }}
{{ config.absent.deeper }}
{{ config['absent']['deeper'] }}
{{ config.get('absent') }}
{{ config.get('absent', 'd') }}
{{ config.get('null', 'd') }}
{{ config.get('absent', {}).get('x') }}
{{ config.get('d', {}).get('deep', {}).get('er') }}
{{ config.d.deep.er[0] }}
{{ config.d['deep']['er'][-1] }}
{{ config.d.deep.er[5] }}
{{ config.d.deep.er[5] | default(0) }}
{{ config.l[1:] }}
{{ config.l[:-1] }}
{{ config.l[::-1] }}
{{ config.l[::2] }}
{{ config.text[:5] }}
{{ config.text[-5:] }}
{{ config.text[0] }}
{{ config.text[100] }}
{{ config.text[1:100] }}
{{ config.text[5:1] }}
{{ config.null.x }}
{{ config.null['x'] }}
{{ config.null | default('d') }}
{{ config.null | default('d', true) }}
{{ config.null or 'd' }}
{{ config.n.x }}
{{ config.s.x }}
{{ config.s['x'] }}
{{ config.l.x }}
{{ config.l['x'] }}
{{ config.absent + 1 }}
{{ config.absent ~ 'x' }}
{{ config.absent | int }}
{{ config.absent | length }}
{{ config.absent | upper }}
{{ config.absent | list }}
{{ config.absent | default }}
{{ config.absent is none }}
{{ config.absent == none }}
{{ config.absent == '' }}
{{ config.absent is defined }}
{{ config.absent is undefined }}
{{ config.absent in [1] }}
{{ 1 in config.absent }}
{{ config.absent < 1 }}
{{ config.absent() }}
{{ config.absent.method() }}
{{ config.n() }}
{{ unknown }}
{{ unknown | default('x') }}
{{ unknown.x }}
{% if unknown is defined %}a{% else %}b{% endif %}
{{ range(3) }}
{{ range(3) | list }}
{{ dict(a=1) }}
{{ namespace(a=1).a }}
{{ stream_state }}
{{ stream_state['x'] }}
stream_state
{{ stream_interval }}
{{ stream_interval.start_time }}
{{ stream_partition['parent_id'] }}
{{ stream_slice.end_time }}
{{ stream_slice['absent'] }}
{{ stream_interval.extra_fields }}
{{ parameters.name }}
{{ parameters['nested']['a'] }}
{{ parameters.absent }}
{{ parameters }}
{{ options }}
{{ record }}
{{ record.id }}
{{ record['owner']['mail'] }}
{{ record.owner.mail or 'none' }}
{{ record.owner.get('mail', 'x') }}
{{ record['tags'] | join(', ') }}
{{ record.tags[0] }}
{{ record['items'][0]['k'] }}
{{ record['name'] | length }}
{{ record.price | round(1) }}
{{ record.price | string }}
{{ "%.1f" | format(record.price) }}
{{ "%05d" % record.id }}
{{ "%s" % record.id }}
{{ '%s-%s' % ('a', 'b') }}
{{ '%d%%' % 5 }}
{{ '%s' % none }}
{{ '%(a)s' % {'a': 1} }}
{{ '{}/{}'.format(1, 'a') }}
{{ '{0}{0}'.format('a') }}
{{ '{a}'.format(a=1) }}
{{ '{:>5}'.format('x') }}
{{ '{:.2f}'.format(1.005) }}
{{ '{:05d}'.format(42) }}
{{ '{:,}'.format(1234567) }}
{{ response.next }}
{{ response['next'] is none }}
{{ response.page + 1 }}
{{ response.page + 1 if response.page < response.total_pages else '' }}
{{ response.get('meta', {}).get('cursor', '') }}
{{ response.links.next.split('page=')[1].split('&')[0] }}
{{ response.links.get('next') }}
{{ response.data | length }}
{{ response.data[-1].id }}
{{ response['data'][-1]['id'] if response['data'] else none }}
{{ response.data[5].id }}
{{ 'next' in response.links }}
{{ headers['X-Next'] }}
{{ headers.get('x-next') }}
{{ headers['link']['next']['url'] }}
{{ headers.link.prev.url }}
{{ next_page_token }}
{{ next_page_token['next_page_token'] }}
{{ next_page_token.next_page_token + 1 }}
{{ last_record['id'] }}
{{ last_page_size }}
{{ last_page_size < 20 }}
{{ 'A,B'.lower().split(',') }}
{{ 'a b'.split() }}
{{ ' a  b '.split(' ') }}
{{ 'a,b,c'.split(',', 1) }}
{{ 'a,b,c'.rsplit(',', 1) }}
{{ 'a,b'.split('') }}
{{ 'abc'.startswith('a') }}
{{ 'abc'.startswith(('x', 'a')) }}
{{ 'abc'.endswith('c') }}
{{ 'abc'.upper() }}
{{ ' a '.strip() }}
{{ 'xax'.strip('x') }}
{{ 'xax'.lstrip('x') }}
{{ 'xax'.rstrip('x') }}
{{ 'abc'.find('c') }}
{{ 'abc'.find('z') }}
{{ 'abc'.index('c') }}
{{ 'abc'.index('z') }}
{{ 'abab'.count('a') }}
{{ 'a-b'.replace('-', '') }}
{{ 'aaa'.replace('a', 'b', 2) }}
{{ 'abc'.title() }}
{{ 'ABC'.capitalize() }}
{{ 'aBc'.swapcase() }}
{{ '5'.zfill(3) }}
{{ '-5'.zfill(4) }}
{{ 'ab'.ljust(4, '.') }}
{{ 'ab'.rjust(4) }}
{{ 'ab'.center(6, '*') }}
{{ '12'.isdigit() }}
{{ 'ab'.isalpha() }}
{{ 'a1'.isalnum() }}
{{ ' '.isspace() }}
{{ 'Ab'.isupper() }}
{{ 'ab'.islower() }}
{{ ','.join(['a', 'b']) }}
{{ ','.join([1, 2]) }}
{{ 'a=b'.partition('=') }}
{{ 'a=b=c'.rpartition('=') }}
{{ 'a\nb'.splitlines() }}
{{ 'abc'.encode() }}
{{ 'ab'.nope() }}
{{ 'prefix_x'.removeprefix('prefix_') }}
{{ 'x_suffix'.removesuffix('_suffix') }}
{{ 'é'.encode('utf-8') }}
{{ [1, 2].index(2) }}
{{ [1, 2, 1].count(1) }}
{{ config.d.items() }}
{{ config.d.items() | list }}
{{ config.d.keys() | list }}
{{ config.d.values() | list | length }}
{{ config.d.nope() }}
{{ config.d.copy() }}
{{ config.e }}
{{ config.el }}
{{ (1).bit_length() }}
{{ 1.5.is_integer() }}
{{ true.real }}
{{ 'x' is string }}
{{ 1 is number }}
{{ true is number }}
{{ true is boolean }}
{{ none is none }}
{{ config.d is mapping }}
{{ config.l is sequence }}
{{ 'x' is sequence }}
{{ config.l is iterable }}
{{ 1 is integer }}
{{ 1.0 is float }}
{{ 1 is odd }}
{{ 4 is even }}
{{ 6 is divisibleby(3) }}
{{ 'a' is in(['a']) }}
{{ 1 is eq(1) }}
{{ 1 is sameas(1) }}
{{ false is false }}
{{ true is true }}
{{ 'abc' is lower }}
{{ 'ABC' is upper }}
{{ config.yes is true }}
{{ config.n is true }}
{{ 0 is false }}
{{ config.s is not none }}
{{ config.absent is not defined }}
{% if config.yes %}a{% elif config.no %}b{% else %}c{% endif %}
{% if config.no %}a{% elif config.n > 3 %}b{% else %}c{% endif %}
{% if config.absent %}a{% endif %}
{% for x in config.l %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}
{% for x in config.l %}{{ loop.index }}:{{ x }};{% endfor %}
{% for x in config.l %}{{ loop.index0 }}{{ loop.first }}{% endfor %}
{% for k, v in config.d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in config.d %}{{ k }};{% endfor %}
{% for x in config.el %}a{% else %}none{% endfor %}
{% for x in config.absent %}a{% else %}none{% endfor %}
{% for x in config.l if x > 1 %}{{ x }}{% endfor %}
{% for x in config.l | sort %}{{ x }}{% endfor %}
{% for x in 'abc' %}{{ x }}.{% endfor %}
{% for x in config.n %}{{ x }}{% endfor %}
{% set x = 1 %}{% set y = x + 1 %}{{ y }}
{% set x %}abc{% endset %}{{ x }}
{% set ns = namespace(total=0) %}{% for x in config.l %}{% set ns.total = ns.total + x %}{% endfor %}{{ ns.total }}
{% set x = 1 %}{% for i in config.l %}{% set x = x + i %}{% endfor %}{{ x }}
{% set a, b = config.words[:2] %}{{ b }}{{ a }}
{% for a, (b, c) in [(1, (2, 3))] %}{{ c }}{{ b }}{{ a }}{% endfor %}
{% for k, v in config.d | dictsort %}{{ k }};{% endfor %}
{% for item in record['items'] %}{{ item.k }}={{ item['v'] }}{{ "," if not loop.last }}{% endfor %}
{% for k, v in record.owner.items() if v %}{{ k }}{% endfor %}
{% with a = 5 %}{{ a }}{% endwith %}
{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(1) }}
{% raw %}{{ x }}{% endraw %}
{# nothing #}5
a{# nothing #}b
{%- if true -%} x {%- endif -%}
a {{- 1 -}} b
  {{ 1 }}
{{ 1 }}  
[{{ 1 }}, {{ 2 }}]
{"a": {{ config.n }}, "b": "{{ config.s }}"}
{'a': {{ config.l }}}
{{ config.n }}{{ config.n }}
{{ config.n }}-{{ config.s }}
-{{ config.n }}
0{{ config.n }}
{{ config.n }}.0
{{ config.n }}e2
'{{ config.n }}'
"{{ config.s }}"
"{{ config.quote }}"
({{ config.n }},)
{{ config.json }}
{{ config.lines }}
{{ '{{' }}
{{ '}}' }}
{{ "{%" }}
{{ 'a\\b' }}
{{ 'a\nb' }}
{{ "a'b" }}
{{ 'a"b' }}
{{ '\u00e9' }}
{{ [] }}
{{ {} }}
{{ () }}
{{ (1,) }}
{{ [1, [2, {'a': (3, 4)}]] }}
{{ {'a': 'b'} }}
{{ {1: 'a', 'b': none} }}
{{ {'a': {'b': [1, 2.50, "it's"]}} }}
{{ ["a\"b", 'c\'d', "both'\""] }}
{{ ['é', '\n', '\t', '\\'] }}
{{ none }}
{{ None }}
{{ true }}
{{ True }}
{{ false }}
{{ 1.0 }}
{{ 1.50 }}
{{ 100000000000000000000.0 }}
{{ 1e-5 }}
{{ 0.0001 }}
{{ 123456789012345678 }}
{{ 1.0e0 }}
{{ 5 | abs }}
{{ -5 | abs }}
{{ timestamp('2024-01-01') }}
{{ timestamp('2024-01-01T00:00:00Z') }}
{{ timestamp('2024-01-01T00:00:00.5Z') }}
{{ timestamp('2024-01-01T01:00:00+01:00') | int }}
{{ timestamp(1700000000.9) }}
{{ timestamp(1700000000) }}
{{ timestamp('yesterday') }}
{{ timestamp('1700000000') }}
{{ timestamp(none) }}
{{ timestamp(config.start) * 1000 }}
{{ (timestamp(config.start) * 1000) | int }}
{{ str_to_datetime('2024-01-31') }}
{{ str_to_datetime('2024-01-31T10:20:30') }}
{{ str_to_datetime('2024-01-31T10:20:30.123456+02:00') }}
{{ str_to_datetime('2024-01-31').strftime('%d/%m/%Y') }}
{{ str_to_datetime('2024-01-31').year }}
{{ str_to_datetime('2024-01-31').weekday() }}
{{ str_to_datetime('2024-01-31').isoweekday() }}
{{ str_to_datetime('2024-01-31').date() }}
{{ str_to_datetime('2024-01-31').timestamp() }}
{{ str_to_datetime('2024-01-31').replace(day=1) }}
{{ str_to_datetime('2024-01-31').isoformat() }}
{{ str_to_datetime('2024-01-31') + duration('P1D') }}
{{ str_to_datetime('2024-01-31') + duration('P1M') }}
{{ str_to_datetime('2024-03-31') - duration('P1M') }}
{{ str_to_datetime('2024-02-29') - duration('P1Y') }}
{{ (str_to_datetime('2024-03-31') - duration('PT36H')).strftime('%Y-%m-%dT%H:%M:%SZ') }}
{{ (str_to_datetime('2024-03-31') - str_to_datetime('2024-03-01')).days }}
{{ str_to_datetime('2024-03-31') - str_to_datetime('2024-03-01') }}
{{ (str_to_datetime('2024-03-31') - str_to_datetime('2024-03-01')).total_seconds() }}
{{ str_to_datetime('2024-03-31') > str_to_datetime('2024-03-01') }}
{{ str_to_datetime('31.01.2024') }}
{{ str_to_datetime(5) }}
{{ duration('P1D') }}
{{ duration('P1W') }}
{{ duration('P1M') }}
{{ duration('P1Y2M3DT4H5M6S') }}
{{ duration('PT0.5S') }}
{{ duration('PT1H30M') }}
{{ duration('P1DT12H').total_seconds() }}
{{ duration('P1D').days }}
{{ duration('nonsense') }}
{{ duration('-P1D') }}
{{ duration('P1D') * 2 }}
{{ duration('P1D') + duration('PT1H') }}
{{ format_datetime('2024-01-31T10:20:30Z', '%Y-%m-%d') }}
{{ format_datetime('2024-01-31T10:20:30.123456Z', '%Y-%m-%dT%H:%M:%S.%fZ') }}
{{ format_datetime('2024-01-31T10:20:30.123456Z', '%Y-%m-%dT%H:%M:%S.%_msZ') }}
{{ format_datetime('2024-01-31T10:20:30Z', '%s') }}
{{ format_datetime('2024-01-31T10:20:30Z', '%ms') }}
{{ format_datetime('2024-01-31T10:20:30Z', '%s_as_float') }}
{{ format_datetime('2024-01-31T10:20:30Z', '%epoch_microseconds') }}
{{ format_datetime('2024-01-31T10:20:30+02:00', '%H %z') }}
{{ format_datetime('31/01/2024', '%Y-%m-%d', '%d/%m/%Y') }}
{{ format_datetime(1706696430, '%Y-%m-%dT%H:%M:%SZ') }}
{{ format_datetime(1706696430000, '%Y-%m-%d', '%ms') }}
{{ format_datetime('1706696430', '%Y-%m-%d') }}
{{ format_datetime('1706696430', '%Y-%m-%d', '%s') }}
{{ format_datetime(1706696430.5, '%Y-%m-%d') }}
{{ format_datetime(str_to_datetime('2024-01-31'), '%d.%m.%Y') }}
{{ format_datetime(str_to_datetime('2024-01-31'), '%ms') }}
{{ format_datetime(config.start, '%B %d, %Y %I:%M %p') }}
{{ format_datetime(config.start, '%a %A %b %j %U %W %w %y %e %C %u %V %G %D %F %T %R %r %h %n%t%%') }}
{{ format_datetime('', '%Y') }}
{{ format_datetime(none, '%Y') }}
{{ format_datetime(config.day, '%Y%m%dT%H%M%S') }}
{{ day_delta(0, '%Y') == now_utc().strftime('%Y') }}
{{ day_delta(-1) < day_delta(1) }}
{{ day_delta(1, format='%Y-%m-%d') > today_utc() | string }}
{{ now_utc().strftime('%Y') == today_utc().strftime('%Y') }}
{{ (now_utc() - duration('P1D')) < now_utc() }}
{{ (today_utc() - duration('P1D')) < today_utc() }}
{{ today_utc().isoformat() | length }}
{{ today_with_timezone('Europe/Berlin').strftime('%Y') | length }}
{{ today_with_timezone('Nowhere/Land') }}
{{ now_utc().isoformat() | length }}
{{ now_utc() | string | length > 20 }}
{{ generate_uuid() | length }}
{{ max(1, 2, 3) }}
{{ max([1, 2, 3]) }}
{{ max('a', 'b') }}
{{ max(1, 'a') }}
{{ max([]) }}
{{ min(2.5, 1) }}
{{ min(config.l) }}
{{ max(config.start, '2024-02-01') }}
{{ max(1.0, 1) }}
{{ sanitize_url('a b&c=é/') }}
{{ camel_case_to_snake_case('CamelCaseText') }}
{{ camel_case_to_snake_case('HTTPServer') }}
{{ camel_case_to_snake_case('already_snake') }}
{{ config.url }}
{{ config.url.split('?')[1] }}
{{ config.start[:10] }}
{{ config.start.split('T')[0] }}
{{ config.start | replace('Z', '+00:00') }}
{{ config['s'] if config['s'] is defined else '' }}
{{ config['d']['k'] ~ '-' ~ config['n'] }}
{{ "" }}
{{ '' }}
{{ ' ' }}
{{ config.padded }}
{{ config.unicode | upper }}
{{ config.unicode | length }}
{{ config.unicode[0:4] }}
{{ 'ß' | upper }}
{{ 'İ' | lower | length }}
{{ 'straße'.title() }}
{{
{{ }}
{{ 1 +
{% if %}
{% endif %}
{{ config['x }}
{{ 'a' 'b' }}
{{ 1 2 }}
{{ config.l[0 }}
{{ a.b.c }}
{{ loop }}
{{ config | length > 3 }}
{{ caller() }}
{{ ['a', 'b'] | join }}
{{ 5 | join }}
{{ 'abc' | join('-') }}
{{ [none, 1, 'a'] | join('-') }}
{{ ['b', 'a'] | sort | first }}
{{ config.mixed | sort }}
{{ '1,2' }}
{{ '(1, 2)' }}
{{ '[1, 2' }}
{{ '007' }}
{{ '1e5' }}
{{ "'x'" }}
{{ '"x"' }}
{{ '1' ~ '2' }}
{{ 1 ~ 2 }}
{{ '0x10' }}
{{ 'None' }}
{{ 'True' }}
{{ 'true' }}
{{ 'null' }}
{{ '1_000' }}
{{ '+5' }}
{{ ' 5' }}
{{ '# x' }}
{{ '5 # x' }}
{{ '{"a": 1}' }}
{{ '{"a": true}' }}
{{ "{'a': True}" }}
""")

CONDITIONS = pieces(r"""
{{ record.get('name') is not true }}
{{ record['name'] is true }}
{{ record.name is not true }}
{{ record.get('id') is true }}
{{ 'a' in record.tags and record.get('name') is not true }}
{{ record['name'] in config['words'] and record.get('archived') is not true }}
{{ 'a' is true }}
{{ 'a' is false }}
{{ record.name is false }}
{{ record.missing is true }}
{{ record.missing is not true }}
{{ record.tags is not true }}
{{ 'open' in ['open', 'late'] and 'state' is not true }}
{{ record['tags'][0] in ['a'] }}
{{ record['name'] in ['Käse'] }}
{{ record['tags'][1] in config['csv'].split(',') }}
{{ record.id in [7] }}
{{ record.price in [9.99] }}
{{ record['tags'] in [['a', 'b']] }}
{{ record.owner in [{'id': 1, 'mail': none}] }}
{{ record.owner == {'mail': none, 'id': 1} }}
{{ record['tags'] == ['a', 'b'] }}
{{ ['a', 'b'] == record['tags'] }}
{{ record.tags[0] == record['tags'] | first }}
True
False
true
false
0
0.0
1
no
yes
None
none
null
{}
[]
()
0,
''
""
'a'
{{ 0 }}
{{ 0.0 }}
{{ -0.0 }}
{{ '' }}
{{ ' ' }}
{{ [] }}
{{ {} }}
{{ () }}
{{ [0] }}
{{ none }}
{{ 'None' }}
{{ 'false' }}
{{ 'False' }}
{{ 'no' }}
{{ '0' }}
{{ '0.0' }}
{{ '00' }}
{{ config.absent }}
{{ config.absent.deep }}
{{ config.null }}
{{ config.null.deep }}
{{ not config.absent }}
{{ not config.absent.deep }}
{{ config.n > 3 }}
{{ config.n > 30 }}
{{ config.n > '3' }}
{{ config.null > 3 }}
{{ config.n and config.no }}
{{ config.l }}
{{ config.el }}
{{ record.id == 7 }}
{{ record.missing == 7 }}
{{ record.owner.mail is none }}
{{ record.owner.missing is none }}
{{ record.owner.mail.x is none }}
{{ record['tags'] | length > 1 }}
{{ 'a' in record.tags }}
{{ 'a' in record.missing }}
{{ response.has_more }}
{{ not response.has_more }}
{{ response.next is none }}
{{ response.get('next') is none }}
{{ not response.get('meta', {}).get('next') }}
{{ response.page >= response.total_pages }}
{{ 'next' not in response.links }}
{{ 'error' in response }}
{{ response['error']['code'] == 5 }}
{{ last_page_size < 5 }}
{{ headers['X-Next'] == 'abc' }}
{{ headers.link.next is defined }}
{{ headers.link.prev.url is defined }}
{{ timestamp(record.at) > timestamp(config.start) }}
{{ record.at >= stream_interval.start_time }}
{{ unknown }}
{{ 1 / 0 }}
{{ 1 +
{{ range(3) }}
{{ 'a' + 1 }}
{{ set() }}
{% if config.yes %}True{% else %}False{% endif %}
{% if config.no %}True{% endif %}
{{ true }} 
 {{ false }}
{{ false }}x
{{ false or false }}
{{ 'x' if config.absent else '' }}
{{ 'x' if config.absent }}
text {{ config.absent }}
{{ [false] }}
{{ false is false }}
{{ (0,) }}
{{ '[]' }}
{{ '{}' }}
{{ '[ ]' }}
{{ 'set()' }}
{{ 0j }}
{{ '0j' }}
{{ '-0' }}
""")

TYPED = pieces(r"""
5
5.0
'5'
True
None
text
{{ config.n }}
{{ config.f }}
{{ config.whole }}
{{ config.s }}
{{ config.yes }}
{{ config.null }}
{{ config.l }}
{{ config.d }}
{{ config.empty }}
{{ config.absent }}
{{ config.number_text }}
{{ config.float_text }}
{{ config.big }}
{{ "'quoted'" }}
{{ config.n == 5 }}
{{ config.f | int }}
{{ record.id | string }}
1,2
[1]
""")

DATE_FORMATS = [
    "%s", "%s_as_float", "%ms", "%epoch_microseconds", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%_msZ", "%Y-%m-%dT%H:%M:%S.%_ms%z", "%Y-%m-%dT%H:%M:%S.%f", "%m/%d/%Y", "%d.%m.%Y %H:%M", "%Y%m%d", "%Y%m%d%H%M%S", "%Y-%m", "%Y", "%d %b %Y", "%B %d, %Y", "%a, %d %b %Y %H:%M:%S %Z",
    "%a, %d %b %Y %H:%M:%S GMT", "%I:%M %p %d/%m/%y", "%Y-%jT%H", "%Y-%m-%dT%H:%M:%S.000Z", "%Y-%m-%dT%H:%M:%S+00:00", "created>=%Y-%m-%d", "%Y-W%W-%w", "%c", "%x %X", "100%% %Y", "%Y-%m-%dT%H:%MZ", "%y%m%d",
]
DATE_TEXTS = [
    "1706696430", "1706696430.5", "1706696430123", "1706696430123456", "-1", "0", "2024-01-31", "2024-1-3", "2024-02-30", "2024-01-31T10:20:30Z", "2024-01-31T10:20:30.123456Z", "2024-01-31T10:20:30.123Z", "2024-01-31T10:20:30.1234567Z",
    "2024-01-31T10:20:30.5+02:00", "2024-01-31T10:20:30.123456+0200", "2024-01-31T10:20:30+02:00", "2024-01-31T10:20:30-0330", "2024-01-31T10:20:30+02", "2024-01-31 10:20:30", "2024-01-31T10:20:30", "2024-01-31T10:20:30.123456", "2024-01-31T10:20:30.000Z",
    "2024-01-31T10:20:30+00:00", "2024-01-31T10:20Z", "01/31/2024", "1/3/2024", "31.01.2024 10:20", "20240131", "20240131102030", "2024-01", "2024", "31 Jan 2024", "31 jan 2024", "January 31, 2024", "Wed, 31 Jan 2024 10:20:30 GMT", "Wed, 31 Jan 2024 10:20:30 UTC",
    "10:20 PM 31/01/24", "12:20 am 31/01/24", "2024-031T10", "created>=2024-01-31", "2024-W05-3", "Wed Jan 31 10:20:30 2024", "01/31/24 10:20:30", "100% 2024", "240131", "690101", "680101", "", " ", "abc", " 2024-01-31", "2024-01-31 ", "2024-01-31T24:00:00Z", "2024-01-31T10:20:60Z", "9999-12-31", "0001-01-01", "10000-01-01", "٢٠٢٤-٠١-٣١",
    "2024-01-31t10:20:30z", "2024-01-31T10:20:30z", "2024-01-31  10:20:30", "1e9", "+5", " 5 ",
]
INSTANTS = ["2024-01-31T10:20:30.123456+00:00", "2024-01-31T10:20:30+02:00", "2024-02-29T00:00:00+00:00", "1969-12-31T23:59:59.500000+00:00", "2024-12-31T23:59:59.999999-03:30", "0999-03-04T05:06:07.000008+00:00"]

DAY, SECOND = "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"
CURSORS = [{"datetime_format": DAY, "start_datetime": start, "end_datetime": end, **rest} for start, end in [("2024-01-15", "2024-03-10"), ("2024-01-31", "2024-01-31"), ("2024-02-05", "2024-02-01")] for rest in [
    {}, {"step": "P1M", "cursor_granularity": "P1D"}, {"step": "P10D", "cursor_granularity": "P1D"}, {"step": "P1W", "cursor_granularity": "P1D", "lookback_window": "P3D"}, {"lookback_window": "P1M"},
    {"step": "P30D", "cursor_granularity": "P1D", "is_compare_strictly": True}, {"step": "P1Y", "cursor_granularity": "P1D"}, {"step": "P1D", "cursor_granularity": "P1D", "lookback_window": "P2D"} if start == "2024-01-31" else {"step": "P20D", "cursor_granularity": "PT0S"},
    {"step": "P2W", "cursor_granularity": "P1D", "clamping": {"target": "WEEK", "target_details": {"weekday": "SUNDAY"}}}, {"step": "P1M", "cursor_granularity": "P1D", "clamping": {"target": "MONTH"}}, {"clamping": {"target": "MONTH"}}, {"step": "P5D", "cursor_granularity": "P1D", "clamping": {"target": "DAY"}}, {"step": "P3D", "cursor_granularity": "P1D", "clamping": {"target": "WEEK", "target_details": {"weekday": "WEDNESDAY"}}},
]] + [{"datetime_format": SECOND, "start_datetime": "2024-01-15T10:30:00Z", "end_datetime": "2024-02-20T08:00:00Z", **rest} for rest in [
    {}, {"step": "P10D", "cursor_granularity": "PT1S"}, {"step": "P1M", "cursor_granularity": "PT0.000001S"}, {"step": "P10D", "cursor_granularity": "PT1S", "lookback_window": "PT36H"}, {"step": "P10D", "cursor_granularity": "PT1S", "clamping": {"target": "DAY"}}, {"step": "P10D", "cursor_granularity": "PT1S", "clamping": {"target": "MONTH"}}, {"step": "P7D", "cursor_granularity": "PT1S", "clamping": {"target": "WEEK", "target_details": {"weekday": "MONDAY"}}}, {"clamping": {"target": "DAY"}},
    {"cursor_datetime_formats": [DAY, SECOND], "step": "P10D", "cursor_granularity": "PT1S"},
]]
STATES = [
    {}, {"at": "2024-02-01"}, {"at": "2024-02-01T12:00:00Z"}, {"at": "2024-03-10"}, {"at": "2024-05-01"}, {"at": "2023-01-01"}, {"at": "2024-02-10", "other": 1}, {"at": ""}, {"at": "nonsense"}, {"other": "2024-02-01"},
    {"state_type": "date-range", "slices": [{"start": "2024-01-15", "end": "2024-01-31", "most_recent_cursor_value": "2024-01-30"}]},
    {"state_type": "date-range", "slices": [{"start": "2024-01-20", "end": "2024-01-25"}, {"start": "2024-02-01", "end": "2024-02-10", "most_recent_cursor_value": "2024-02-08"}]},
    {"state_type": "date-range", "slices": [{"start": "2024-01-15", "end": "2024-01-31"}, {"start": "2024-02-01", "end": "2024-02-10"}]},
]
RECORDS = [[], ["2024-01-20", "2024-02-03", "2024-03-09", "2024-01-20T00:00:01Z", "2024-02-19T23:59:59Z"]]

STRATEGIES = [
    {"type": "PageIncrement"}, {"type": "PageIncrement", "page_size": 2}, {"type": "PageIncrement", "page_size": 2, "start_from_page": 1}, {"type": "PageIncrement", "page_size": 2, "start_from_page": 1, "inject_on_first_request": True}, {"type": "PageIncrement", "page_size": "{{ config['l'] | length }}", "inject_on_first_request": True}, {"type": "PageIncrement", "page_size": "2"}, {"type": "PageIncrement", "start_from_page": 5},
    {"type": "OffsetIncrement"}, {"type": "OffsetIncrement", "page_size": 2}, {"type": "OffsetIncrement", "page_size": 2, "inject_on_first_request": True}, {"type": "OffsetIncrement", "page_size": "{{ 1 + 1 }}"}, {"type": "OffsetIncrement", "page_size": 3},
    {"type": "CursorPagination", "cursor_value": "{{ response.next }}"}, {"type": "CursorPagination", "cursor_value": "{{ response.next }}", "stop_condition": "{{ not response.next }}"}, {"type": "CursorPagination", "cursor_value": "{{ response['next'] }}", "page_size": 2, "stop_condition": "{{ last_page_size < 2 }}"},
    {"type": "CursorPagination", "cursor_value": "{{ last_record['id'] }}"}, {"type": "CursorPagination", "cursor_value": "{{ last_record.id }}", "stop_condition": "{{ not response.more }}"}, {"type": "CursorPagination", "cursor_value": "{{ headers['x-next'] }}"}, {"type": "CursorPagination", "cursor_value": "{{ headers['link']['next']['url'] }}", "stop_condition": "{{ 'next' not in headers['link'] }}"},
    {"type": "CursorPagination", "cursor_value": "{{ response.meta.next.id }}"}, {"type": "CursorPagination", "cursor_value": "{{ response.page + 1 }}", "stop_condition": "{{ response.page >= 3 }}"}, {"type": "CursorPagination", "cursor_value": "fixed", "stop_condition": "{{ response.next is none }}"}, {"type": "CursorPagination", "cursor_value": "{{ response.next or 0 }}"}, {"type": "CursorPagination", "cursor_value": "{{ [response.next] }}"}, {"type": "CursorPagination", "cursor_value": "{{ response }}", "stop_condition": "{{ not response.more }}"}, {"type": "CursorPagination", "cursor_value": "{{ '007' }}", "stop_condition": "{{ not response.more }}"}, {"type": "CursorPagination", "cursor_value": "{{ response.next }}", "stop_condition": "{{ response.absent.deep }}"},
]
TWO = [{"id": 1}, {"id": 2}]
PAGES = [
    [[{"data": TWO, "next": "a", "more": True, "page": 1}, {"x-next": "h1", "link": "<https://p.example/2>; rel=\"next\""}], [{"data": TWO, "next": "b", "more": True, "page": 2}, {"x-next": "h2", "Link": "<https://p.example/3>; rel=\"next\", <https://p.example/1>; rel=\"prev\""}], [{"data": [{"id": 5}], "next": None, "more": False, "page": 3}, {}]],
    [[{"data": TWO, "next": 0, "page": 7}, {"link": "<https://p.example/x>; rel=\"last\""}], [{"data": []}, {}]],
    [[{"data": [], "next": "a", "more": True}, {}], [{"data": TWO, "next": "", "more": True}, {}], [{"data": []}, {}]],
    [[{"data": TWO + TWO, "next": "12", "more": True, "meta": {"next": {"id": "00012"}}}, {}], [{"data": TWO, "next": ["x"], "more": True, "meta": {"next": None}}, {}], [{}, {}]],
]

HANDLERS = [
    {"type": "DefaultErrorHandler"},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "IGNORE", "http_codes": [403, 404]}]},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "RETRY", "predicate": "{{ response.error == 'busy' }}"}]},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "FAIL", "predicate": "{{ 'errors' in response }}"}]},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "IGNORE", "error_message_contains": "not allowed"}]},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "RATE_LIMITED", "http_codes": [403], "predicate": "{{ headers['x-left'] == '0' }}"}, {"type": "HttpResponseFilter", "action": "FAIL", "http_codes": [403]}]},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "SUCCESS", "http_codes": [404]}]},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "IGNORE", "predicate": "{{ response[0].x }}"}, {"type": "HttpResponseFilter", "action": "RETRY", "http_codes": [400]}]},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "IGNORE", "predicate": "{{ response | length == 0 }}"}]},
    {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "REFRESH_TOKEN_THEN_RETRY", "http_codes": [401]}]},
    {"type": "CompositeErrorHandler", "error_handlers": [{"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "IGNORE", "http_codes": [404]}]}, {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "RETRY", "http_codes": [403, 404]}]}]},
    {"type": "CompositeErrorHandler", "error_handlers": [{"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "FAIL", "http_codes": [404]}]}, {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "IGNORE", "http_codes": [404]}]}]},
    {"type": "CompositeErrorHandler", "error_handlers": [{"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "RATE_LIMITED", "http_codes": [429, 503]}]}, {"type": "DefaultErrorHandler", "response_filters": [{"type": "HttpResponseFilter", "action": "FAIL", "predicate": "{{ response.error }}"}]}]},
]
ANSWERS = [[status, {}, "{}"] for status in (200, 201, 204, 301, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 418, 422, 423, 429, 451, 499, 500, 501, 502, 503, 504, 505, 520, 599)] + [
    [200, {}, "{\"error\": \"busy\"}"], [200, {}, "{\"errors\": []}"], [200, {}, "[]"], [200, {}, "[{\"x\": 1}]"], [200, {}, "not json"], [200, {}, ""], [400, {}, "{\"error\": \"busy\"}"], [403, {"x-left": "0"}, "{}"], [403, {"X-Left": "0"}, "{}"], [403, {"x-left": "1"}, "{}"],
    [400, {}, "{\"message\": \"it is not allowed here\"}"], [400, {}, "{\"error\": {\"message\": \"not allowed\"}}"], [400, {}, "{\"errors\": [{\"detail\": \"x\"}, {\"detail\": \"not allowed\"}]}"], [400, {}, "[\"not allowed\"]"], [400, {}, "not allowed"], [403, {}, "{\"reason\": \"not allowed\"}"], [404, {}, "{\"error\": \"gone\"}"], [400, {}, "\"not allowed\""], [400, {}, "{\"other\": \"not allowed\"}"], [400, {}, "{\"message\": null, \"error\": \"not allowed\"}"], [500, {}, "{\"error\": true}"],
]
WAITING = [{"type": "DefaultErrorHandler", "backoff_strategies": strategies} for strategies in [
    [{"type": "ConstantBackoffStrategy", "backoff_time_in_seconds": 3}], [{"type": "ConstantBackoffStrategy", "backoff_time_in_seconds": "{{ config['f'] }}"}], [{"type": "ConstantBackoffStrategy", "backoff_time_in_seconds": 0}], [{"type": "ExponentialBackoffStrategy"}], [{"type": "ExponentialBackoffStrategy", "factor": 2}], [{"type": "ExponentialBackoffStrategy", "factor": "{{ config['n'] }}"}], [{"type": "ExponentialBackoffStrategy", "factor": 0.5}],
    [{"type": "WaitTimeFromHeader", "header": "Retry-After"}], [{"type": "WaitTimeFromHeader", "header": "{{ 'wait' }}", "regex": "[.\\d]+"}], [{"type": "WaitTimeFromHeader", "header": "wait", "regex": "([0-9]+) seconds"}], [{"type": "WaitTimeFromHeader", "header": "wait"}, {"type": "ConstantBackoffStrategy", "backoff_time_in_seconds": 9}],
]]
WAITING_HEADERS = [{}, {"Retry-After": "7"}, {"retry-after": "7.5"}, {"Retry-After": "0"}, {"Retry-After": "soon"}, {"wait": "12"}, {"wait": "12 seconds"}, {"wait": "about 12"}, {"Wait": "1.5s"}]

RECORD_PATHS = [[], ["data"], ["data", "rows"], ["data", "*"], ["*"], ["data", "*", "rows"], ["data", "0"], ["data", "1", "rows"], ["a.b"], ["data", "*", "*"], ["*", "rows"], ["1"]]
BODIES = [
    {}, [], {"data": [{"id": 1}, {"id": 2}]}, {"data": {"id": 1}}, {"data": []}, {"data": {}}, {"data": None}, {"data": {"rows": [{"id": 1}]}}, {"data": {"rows": {"id": 1}}}, {"data": [{"rows": [{"id": 1}]}, {"rows": [{"id": 2}, {"id": 3}]}]}, {"data": [{"rows": {"id": 1}}, {"other": 1}]}, [{"id": 1}, {"id": 2}], [{"data": [{"id": 1}]}, {"data": {"id": 2}}],
    {"a.b": [{"id": 1}]}, {"x": {"id": 1}, "y": {"id": 2}}, {"x": {"rows": {"id": 1}}, "y": {"rows": {"id": 2}}}, {"data": {"0": {"id": 1}, "1": {"rows": {"id": 2}}}}, {"data": {"k": {"rows": {"id": 1}}}}, {"1": [{"id": 1}]}, {"data": [[{"id": 1}], [{"id": 2}]]},
]

REFERENCES = [
    {"a": 1, "b": "#/a"}, {"a": {"x": 1}, "b": {"$ref": "#/a"}}, {"a": {"x": 1, "y": 2}, "b": {"$ref": "#/a", "y": 3, "z": 4}}, {"a": {"x": {"p": 1, "q": 2}}, "b": {"$ref": "#/a", "x": {"p": 9}}}, {"l": [10, {"k": 20}], "b": "#/l/1/k", "c": "#/l/0"}, {"n": {"path": 1}, "n/path": 2, "v": "#/n/path"}, {"a": {"b": {"c": {"d": 5}}}, "v": {"$ref": "#/a/b/c"}},
    {"a": {"$ref": "#/b"}, "b": {"$ref": "#/c"}, "c": {"x": 1}, "d": {"$ref": "#/a", "y": 2}}, {"a": {"$ref": "#/b/x"}, "b": {"x": {"k": "#/c"}}, "c": 5}, {"a": ["#/b", {"$ref": "#/c"}], "b": 1, "c": {"x": 1}}, {"a": "#/a"}, {"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}, {"a": "#/nope"}, {"a": {"$ref": "#/nope/x"}}, {"l": [1], "a": "#/l/5"}, {"a": {"b": {"$ref": "#/a"}}},
    {"a": {"$ref": "#/b", "x": {"$ref": "#/c"}}, "b": {"x": 1, "y": 2}, "c": {"z": 3}}, {"a": "text", "b": {"$ref": "#/a"}}, {"a": "#text", "b": "# /x", "c": "x#/a"}, {"a": {"$ref": "#/l/0", "k": 2}, "l": [{"k": 1, "m": 3}]}, {"check": {"config_overrides": {"x": "#/nowhere"}}}, {"x": {"$parameters": {"p": 1}, "q": "#/d/0"}, "d": {"0": "zero"}}, {"a": {"$ref": "#/b"}, "b": [1, 2]}, {"a": {"": 5}, "b": "#/a/"},
]

SCHEMAS = [{"type": kind} for kind in ("string", "number", "integer", "boolean", "null", "object", "array")] + [{"type": [kind, "null"]} for kind in ("string", "number", "integer", "boolean", "object", "array")] + [{}, {"type": ["string", "integer"]}, {"type": ["null"]}, {"type": []}, {"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}}, {"type": ["null", "array"], "items": {"type": ["null", "number"]}}, {"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "integer"}}}, {"anyOf": [{"type": "string"}, {"type": "null"}]}, {"oneOf": [{"type": "integer"}]}, {"type": "string", "format": "date-time"}, {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "number"}}}}, {"type": "string", "enum": ["a"]}]
VALUES = [None, True, False, 0, 1, -3, 1.0, 1.9, -1.9, 1e22, 12345678901234567890, "", "x", "1", " 1 ", "1.5", "1e3", "true", "False", "yes", "no", "on", "0", "null", "nan", "007", [], [1], ["1", 2, None], [[1]], {}, {"x": 1, "y": "2", "z": 3}, [{"x": "1"}]]

CHANGES = [
    *({"type": "AddFields", "fields": [{"type": "AddedFieldDefinition", "path": path, "value": "{{ 'new' }}"}]} for path in (["a"], ["new"], ["d", "x"], ["d", "new"], ["new", "deep", "er"], ["l", "0"], ["l", "1"], ["l", "5"], ["l", "0", "x"], ["new", "0"], ["new", "1", "x"], ["new", "x", "0"], ["n", "x"], ["null", "x"], ["s", "0"], ["d.x"], ["d/x"], ["*"], ["d", "*"], ["rows", "0", "k"], ["rows", "*", "k"], ["rows", "-1", "k"], [""], ["d", ""], ["e", "x"], ["el", "0"])),
    *({"type": "AddFields", "fields": [{"type": "AddedFieldDefinition", "path": ["v"], "value": value}]} for value in ("{{ record.s }}", "{{ record['d'] }}", "{{ record.l }}", "{{ record.n }}", "{{ record.f }}", "{{ record.missing }}", "{{ record.missing.deep }}", "{{ record.null }}", "{{ record.big }}", "{{ record.one }}", "{{ record.text }}", "{{ record.text | string }}", "{{ record.d.x }}-{{ record.n }}", "{{ record.rows | map(attribute='k') | list }}", "{{ record.rows[0] }}", "{{ stream_slice.part }}", "{{ stream_partition['part'] }}", "{{ stream_interval.part }}", "{{ record.d | tojson }}", "{{ record.get('n', 5) }}", "{{ record }}", "{{ [record.n] }}", "{{ {'a': record.d} }}", "{{ record.e }}", "{{ record.el }}", "{{ record.nested_text }}", "'{{ record.n }}'", " {{ record.n }}", "{{ record.n }} ")),
    {"type": "AddFields", "condition": "{{ record.n > 3 }}", "fields": [{"type": "AddedFieldDefinition", "path": ["v"], "value": "x"}]},
    {"type": "AddFields", "condition": "{{ value == 5 }}", "fields": [{"type": "AddedFieldDefinition", "path": ["v"], "value": "{{ record.n }}"}]},
    {"type": "AddFields", "condition": "{{ path[0] == 'v' }}", "fields": [{"type": "AddedFieldDefinition", "path": ["v"], "value": "1"}, {"type": "AddedFieldDefinition", "path": ["w"], "value": "2"}]},
    {"type": "AddFields", "condition": "{{ record.missing.deep }}", "fields": [{"type": "AddedFieldDefinition", "path": ["v"], "value": "1"}]},
    {"type": "AddFields", "fields": [{"type": "AddedFieldDefinition", "path": ["a"], "value": "1"}, {"type": "AddedFieldDefinition", "path": ["b"], "value": "{{ record.a + 1 }}"}]},
    *({"type": "RemoveFields", "field_pointers": [path]} for path in (["a"], ["n"], ["d", "x"], ["d", "*"], ["*"], ["**"], ["*", "x"], ["**", "x"], ["l"], ["l", "0"], ["l", "*"], ["l", "-1"], ["l", "2"], ["rows", "*", "k"], ["rows", "1"], ["rows", "0", "k"], ["n*"], ["[ns]"], ["?"], ["d", "**"], ["d", "missing"], ["null", "x"], ["el", "0"], ["d/x"], ["d.x"])),
    {"type": "RemoveFields", "field_pointers": [["n"], ["s"], ["missing"], ["d", "x"]]},
    *({"type": "RemoveFields", "field_pointers": [["n"]], "condition": condition} for condition in ("{{ property == 5 }}", "{{ property is none }}", "{{ property == 'x' }}", "{{ property is string }}", "{{ property | length > 3 }}", "{{ property }}", "{{ property > 3 }}", "{{ config.yes }}")),
    {"type": "KeysToLower"},
    *({"type": "KeysReplace", "old": old, "new": new} for old, new in ((" ", "_"), ("x", "y"), ("{{ config.s }}", "{{ config.n }}"), ("A", ""), ("5", "five"))),
    *({"type": "DpathFlattenFields", "field_path": path, **rest} for path in (["d"], ["l"], ["rows"], ["rows", "*"], ["d", "deep"], ["missing"], ["n"], ["null"], ["{{ 'd' }}"], ["*"], ["rows", "0"]) for rest in ({}, {"delete_origin_value": True}, {"replace_record": True}, {"key_transformation": {"type": "KeyTransformation", "prefix": "p_"}}, {"key_transformation": {"type": "KeyTransformation", "suffix": "_s"}, "delete_origin_value": True})),
]
CHANGED = [
    {"n": 5, "s": "x", "f": 1.5, "null": None, "l": [1, 2, 3], "d": {"x": 1, "y": "t", "deep": {"z": [1]}}, "rows": [{"k": "a", "v": 1}, {"k": "b"}], "e": {}, "el": [], "one": 1.0, "text": "007", "big": 12345678901234567, "nested_text": "{'a': 1}"},
    {"A Key": 1, "Ab": {"Cd E": [{"Fx": 1}]}, "n": "5", "x": {"x": "x"}, "a": [[1], [2]], "ABC": None, "abd": 2},
    {},
]

ADDRESSES = [[base, path, {}] for base in ("https://a.example", "https://a.example/", "https://a.example/v1", "https://a.example/v1/", "https://a.example//v1//", "https://a.example/v1?k=1", "https://a.example:8443/x/") for path in ("", "/", "x", "/x", "x/", "//x", "x//y", "x?p=1", "?p=1", "x y", "x%20y", "é", "x/../y", "./x", "../x", "https://b.example/z", "x:y", "x#f", "a+b", "a;b", "x?p=a b&q=é", "x?p=1&p=2", "x?p", "x?p=", "{x}", "x|y", "x%zz", "x?a[]=1", "x\"y", "x'y", "x,y@z!$()*~")]
ADDRESSES += [["https://a.example/", path, parameters] for path in ("x", "x?p=1", "x?p=1&q=a%20b", "x?p=1&p=2") for parameters in ({"p": "1"}, {"p": 1}, {"p": "2"}, {"q": "a b"}, {"q": "a b&c=d/e?f:g@h'é~*()!$,;+"}, {"l": [1, "2", None]}, {"e": ""}, {"n": None}, {"t": True, "f": 1.0}, {"a b": "c"}, {"a[]": ["x", "y"]}, {"p": ["1", "2"]}, {"p": []}, {"z": 0})]
