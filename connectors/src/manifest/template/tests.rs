//! Facts about templates, taken from the reference.

use serde_json::json;

use super::*;

fn settings() -> serde_json::Value {
    json!({"a": null, "n": 5, "s": "x", "l": [1, "b'c", null, 1.5, 1e-7, true], "d": {"k": "v\né"}, "flag": true})
}

fn evaluate(source: &str) -> Result<Python> {
    let compiler = Compiler::new();
    let template = compiler
        .compile(&source.into(), Value::from(()), "manifest.yaml:1:1", &BTreeSet::new())
        .map_err(|reason| Error::new(Kind::Invalid, reason))?;
    let page =
        bytes::Bytes::from(r#"{"next": null, "items": [1, 2], "x": {"y": "z"}, "big": 12345678901234567890123}"#);
    let range = 0..page.len();
    let scope = Scope::new(&values::from_json(&settings())).with("response", values::Lazy::value(&page, range));
    template.member(&compiler.finish(), &scope, Only::Any)
}

/// Facts taken from the reference: a template and its value, printed with `str`.
const FACTS: &[(&str, &str)] = &[
    ("{{ config['l'] }}", r#"[1, "b'c", None, 1.5, 1e-07, True]"#),
    ("{{ config['d'] }}", r"{'k': 'v\né'}"),
    ("{{ config.missing }}", "None"),
    ("{{ config.missing.x }}", "None"),
    ("{{ config['a'].x }}", "None"),
    ("{{ config['a'].x.y }}", "None"),
    ("{{ config['n'] > config['a'] }}", "{{ config['n'] > config['a'] }}"),
    ("{{ response['next'] < 3 }}", "{{ response['next'] < 3 }}"),
    ("{{ 'a' in config['a'] }}", "{{ 'a' in config['a'] }}"),
    ("{{ 'a' in config.zzz }}", "False"),
    ("{{ config.zzz + 1}}", "None"),
    ("{{ config['n'] / 2 }}", "2.5"),
    ("{{ 7 // 2 }} {{ 7 % 3 }} {{ -7 // 2 }} {{ -7 % 3 }}", "3 1 -4 2"),
    ("{{ '%s-%s' % ('a', 1) }}", "a-1"),
    ("{{ '%05d|%.2f|%5s' % (42, 1.5, 'a') }}", "00042|1.50|    a"),
    ("{{ config['a'] ~ 'x' }}", "Nonex"),
    ("{{ config['zz'] ~ 'x' }}", "x"),
    ("{{ 1 == 1.0 }}", "True"),
    ("{{ config['l'] | length }}", "6"),
    ("{{ config.zz | length }}", "0"),
    ("{{ config.zz | default('q') }}", "q"),
    ("{{ config['a'] | default('q') }}", "None"),
    ("{{ config['a'] | default('q', true) }}", "q"),
    ("{{ 'a,b'.split(',') }}", "['a', 'b']"),
    ("{{ 'a,b'.split(',')[0] }}", "a"),
    ("{{ config['l'][1:3] }}", r#"["b'c", None]"#),
    ("{{ config['s'][5] }}", "None"),
    ("{{ (str_to_datetime('2024-03-31') - duration('P1M')).strftime('%Y-%m-%d') }}", "2024-02-29"),
    ("{{ str_to_datetime('2024-03-31') - duration('P1D') }}", "2024-03-30 00:00:00+00:00"),
    ("{{ timestamp('2024-01-01') }}", "1704067200.0"),
    ("{{ timestamp(1.9) }}", "1"),
    ("{{ format_datetime('2024-01-01T00:00:00Z','%s') }}", "1704067200"),
    ("{{ format_datetime(1704067200,'%Y') }}", "2024"),
    ("{{ format_datetime('2024','%Y-%m-%d') }}", "2024-01-01"),
    ("{{ duration('P1D') }}", "1 day, 0:00:00"),
    ("{{ duration('P1Y2M') }}", "1 years, 2 months, 0:00:00"),
    ("{{ [1,2]|join(',') }}", "(1, 2)"),
    ("{{ config['d'].items() | list }}", r"[('k', 'v\né')]"),
    ("{{ {'a':1} | tojson }}", "{'a': 1}"),
    ("{{ '<b>' | tojson }}", "<b>"),
    ("{{ config['d'] | string }}", "{\"k\": \"v\né\"}"),
    ("{{ 'x' if config.zz else 'y' }}", "y"),
    ("{{ 'x' if config.zz }}", "None"),
    ("{{ config.zz is defined }} {{ config.zz is none }}", "False False"),
    ("{{ not config.zz }}", "True"),
    ("{{ [3,1]|sort }} {{ [3,1]|max }}", "[1, 3] 3"),
    ("{{ max(1,2,3) }} {{ max([4,9]) }} {{ min(1,2) }}", "3 9 1"),
    ("{{ 'Ab'|lower }}{{ 'Ab'.upper() }}", "abAB"),
    ("{{ config['flag']|lower }}", "true"),
    ("{{ '5'|int + 1 }}", "6"),
    ("{{ 'x'|int }}", "0"),
    ("{{ 1.5|int }}", "1"),
    ("{{ '1.5'|float }}", "1.5"),
    ("{{ 'a b&c/'|urlencode }}", "a%20b%26c/"),
    ("{{ {'a':'b c','d':1}|urlencode }}", "a=b+c&d=1"),
    ("{{ 'abc'|regex_search('b(.)') }}", "c"),
    ("{{ 'abc'|regex_replace('(b)', '<\\\\1>') }}", "a<b>c"),
    ("{{ 'abc'|hash }}", "900150983cd24fb0d6963f7d28e17f72"),
    ("{{ 'abc'|hash('sha256','s') }}", "938074ac65401e8c22ea06b5d9bdcc9c4450b311b080c929aee32e04763f6bf4"),
    ("{{ 'a'|base64encode }}", "YQ=="),
    ("{% if config['n'] %}yes{% else %}no{% endif %}", "yes"),
    ("{% for x in config['l'] %}{{x}},{% endfor %}", "1,b'c,None,1.5,1e-07,True,"),
    ("{% set x = 5 %}{{ x + 1 }}", "6"),
    ("{{ 'a' + 1 }}", "{{ 'a' + 1 }}"),
    ("{{ [1] + [2] }} {{ [1] * 2 }}", "[1, 2] [1, 1]"),
    ("{{ 2 ** 3 }}", "8"),
    ("{{ config['s'].nope() }}", "None"),
    ("{{ config['a'].foo() }}", "None"),
    ("{{ config['l']|first }} {{ config['l']|last }}", "1 True"),
    ("{{ [1,1,2]|unique|list }}", "[1, 2]"),
    ("{{ [{'a':1},{'a':2}]|map(attribute='a')|list }}", "[1, 2]"),
    ("{{ [{'a':1},{'b':2}]|selectattr('a','defined')|list }}", "[{'a': 1}]"),
    ("{{ 'a'|replace('a','b') }}", "b"),
    ("{{ 'abc'[::-1] }}", "cba"),
    ("{{ (1,2) }}", "(1, 2)"),
    ("{{ 1 < 2 < 3 }}", "True"),
    ("{{ 'x' is string }} {{ 1 is number }}", "True True"),
    ("{{ 'hello world'|title }} {{ 'hello'|capitalize }}", "Hello World Hello"),
    ("a\n", "a"),
    ("{{ 'a' }}\n", "a"),
    ("{{ 1e20 }} {{ 1e15 }} {{ 123456789.0 }}", "1e+20 1000000000000000.0 123456789.0"),
    ("{{ 'a'.join(['x','y']) }}", "xay"),
    ("{{ '{}-{}'.format(1,'b') }}", "1-b"),
    ("{{ config['a'] is none and 1 }}", "1"),
    ("{{ True }} {{ none }} {{ None }} {{ true }}", "True None None True"),
    ("{{ str_to_datetime('2024-01-01T05:06:07+02:00').isoformat() }}", "2024-01-01T03:06:07+00:00"),
    ("{{ str_to_datetime('2024-01-01T05:06:07.5') }}", "2024-01-01 05:06:07.500000+00:00"),
    ("{{ day_delta(0,'%Y')|length }}", "4"),
    ("{{ config['n'] and 'x' or 'y' }}", "x"),
    ("{{ '{' }}", "{"),
    ("{{ [ {'a': [1]} ] }}", "[{'a': [1]}]"),
    ("{{ response['items'] }}", "[1, 2]"),
    ("{{ response.x.get('y') }}", "z"),
    ("{{ response.get('q', {}).get('z') }}", "None"),
    ("{{ response.big }}", "12345678901234567890123"),
    ("{{ -config['n'] }}", "-5"),
    ("{{ '1' == 1 }}", "False"),
    ("{{ config['n'] in [5] }} {{ config['n'] not in [5] }}", "True False"),
    ("{{ 'k' in config.d }} {{ 'next' not in response }}", "True False"),
    ("{{ camel_case_to_snake_case('CamelCase') }} {{ sanitize_url('a b/c') }}", "camel_case a+b%2Fc"),
    ("{{ day_delta(0, format='%Y') | length }} {{ 'abc' | hash(hash_type='md5') | length }}", "4 32"),
    ("{{ 'x' | int(default=7) }} {{ ['a', 'b'] | join(d='-') }} {{ 'a' | default(default_value='b') }}", "7 a-b a"),
    ("x{{ '{{' }}y \"q\" \\n", "x{{y \"q\" \\n"),
];

#[test]
fn templates_evaluate_as_in_the_reference() {
    for (source, expected) in FACTS {
        let value = evaluate(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(value.text(), *expected, "{source}");
    }
}

#[test]
fn a_broken_template_is_named_with_its_reason() {
    for (source, part) in [
        ("{{ unknown }}", "nothing is called `unknown`"),
        ("{{ range(3) }}", "nothing is called `range`"),
        ("{{ 'a' if 1 else }}", "unexpected"),
        ("{{ config['x' }}", "`{{ config['x' }}`"),
        ("{{ 'a'|nosuchfilter }}", "nosuchfilter"),
        ("{{ stream_state['x'] }}", "stream_interval"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% include 'x' %}", "only"),
    ] {
        let message = evaluate(source).map(|value| value.text()).unwrap_err().to_string();
        assert!(message.contains(part), "{source}: {message}");
    }
}

#[test]
fn a_runaway_template_is_stopped() {
    let source = "{% for a in 'x' * 9999 %}{% for b in 'x' * 9999 %}{{ a }}{% endfor %}{% endfor %}";
    let message = evaluate(source).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("fuel") || message.contains("4 MiB"), "{message}");
}

#[test]
fn literals_are_kept_from_becoming_other_kinds() {
    let compiler = Compiler::new();
    let template = compiler.compile(&"{{ config['n'] }}".into(), Value::from(()), "here", &BTreeSet::new()).unwrap();
    let (engine, scope) = (compiler.finish(), Scope::new(&values::from_json(&settings())));
    assert_eq!(template.value_of(&engine, &scope, Only::Text).unwrap(), Python::Text("5".into()));
    assert_eq!(template.value_of(&engine, &scope, Only::Integer).unwrap(), Python::Int(5));
    assert_eq!(template.value_of(&engine, &scope, Only::Boolean).unwrap(), Python::Text("5".into()));
}

/// Templates that want all of the memory, all of the stack or all of the time: each ends with an error that says why.
const BOMBS: &[(&str, &str)] = &[
    ("{{ 'x' * 10 ** 9 }}", "`*` would make"),
    ("{{ ['x'] * 10 ** 9 }}", "`*` would make"),
    ("{{ 10 ** 10 ** 10 ** 10 }}", ""),
    ("{{ 9 ** 99 }}", "too large a number"),
    ("{{ -(0 - 10 ** 38 - 10 ** 38) }}", "too large a number"),
    ("{{ (0 - 10 ** 38 - 10 ** 38) // -1 }}", "too large a number"),
    ("{{ (0 - 10 ** 38 - 10 ** 38) % -1 }}", "too large a number"),
    ("{{ '%1000000000d' % 5 }}", ""),
    ("{{ '%.1000000000f' % 1.5 }}", "digits behind the point"),
    ("{{ ('%(a)s' * 9000) % {'a': 'x' * 99999} }}", "texts of 16 MiB"),
    ("{{ '{:>1000000000}'.format(1) }}", "three digits"),
    ("{{ '{:>{}}'.format(1, 10 ** 9) }}", "another field"),
    ("{{ ('{0}' * 9000).format('x' * 99999) }}", "texts of 16 MiB"),
    ("{{ ('x' * 99999).replace('x', 'x' * 99999) }}", "texts of 16 MiB"),
    ("{{ ('x' * 99999) | replace('x', 'x' * 99999) }}", ""),
    ("{{ ('x' * 99999) | regex_replace('x', 'x' * 99999) }}", "texts of 16 MiB"),
    ("{{ ('x' * 99999) | regex_replace('(x+)', '\\\\1' * 9000) }}", "texts of 16 MiB"),
    ("{{ (['x' * 99999] * 9999) | join('y') }}", "80 MiB"),
    ("{{ 'y'.join(['x' * 99999] * 9999) }}", "80 MiB"),
    ("{{ ('x' * 99999).join(['y'] * 9999) }}", "texts of 16 MiB"),
    ("{{ (['y'] * 9999) | join('x' * 99999) }}", "texts of 16 MiB"),
    ("{{ 'x' | center(10 ** 12) | length }}", ""),
    ("{{ 'x'.ljust(10 ** 12) | length }}", ""),
    ("{{ 'x'.zfill(10 ** 12) | length }}", ""),
    ("{{ 'x' | indent(10 ** 12) }}", ""),
    ("{{ [1] | batch(10 ** 12, 'x') | list }}", "100000 items"),
    ("{{ [1] | slice(10 ** 12) | list }}", "100000 items"),
    ("{{ 1.5 | round(10 ** 9) }}", ""),
    (
        "{% set a = [1] * 10 %}{% set b = [a] * 10 %}{% set c = [b] * 10 %}{% set d = [c] * 10 %}{% set e = [d] * 10 %}\
      {% set f = [e] * 10 %}{% set g = [f] * 10 %}{% set h = [g] * 10 %}{{ h }}",
        "80 MiB",
    ),
    (
        "{% set a = ['x'] %}{% set b = [a, a, a, a, a, a, a, a] %}{% set c = [b, b, b, b, b, b, b, b] %}\
      {% set d = [c, c, c, c, c, c, c, c] %}{% set e = [d, d, d, d, d, d, d, d] %}{% set f = [e, e, e, e, e, e, e, e] %}\
      {% set g = [f, f, f, f, f, f, f, f] %}{% set h = [g, g, g, g, g, g, g, g] %}{% set i = [h, h, h, h, h, h, h, h] %}\
      {{ i == i | list }}",
        "80 MiB",
    ),
    (
        "{% set a = {'k': 'x' * 9999} %}{% set b = {'k': a, 'l': a, 'm': a} %}{% set c = dict(k=b, l=b, m=b) %}\
      {% set d = (c, c, c, c, c, c, c, c) %}{% set e = [d, d, d, d, d, d, d, d] %}{% set f = [e, e, e, e, e, e, e] %}\
      {% set g = [f, f, f, f, f, f, f] %}{{ g | tojson | length }}",
        "80 MiB",
    ),
    (
        "{% set n = namespace(a='x') %}{% for i in 'x' * 60 %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a | length }}",
        "16 MiB",
    ),
    (
        "{% set n = namespace(a='x') %}{% for i in 'x' * 60 %}{% set n.a = n.a + n.a %}{% endfor %}{{ n.a | length }}",
        "16 MiB",
    ),
    ("{% set n = namespace(a=[1]) %}{% for i in 'x' * 99999 %}{% set n.a = [n.a] %}{% endfor %}{{ 1 }}", "100 levels"),
    ("{% set n = namespace(a=[1]) %}{% for i in 'x' * 60 %}{% set n.a = n.a + n.a %}{% endfor %}{{ 1 }}", ""),
    (
        "{% set n = namespace(a=[1]) %}{% for i in 'x' * 9999 %}{% set n.a = n.a | batch(1) | list %}{% endfor %}{{ 1 }}",
        "100 levels",
    ),
    ("{% set n = namespace() %}{% set n.me = n %}{{ 1 }}", "only its attributes"),
    ("{% set n = namespace() %}{% set n.all = [n] %}{{ 1 }}", "only its attributes"),
    ("{{ namespace(a=1) }}", "only its attributes"),
    ("{% for a in 'x' * 9999 %}{% for b in 'x' * 9999 %}{{ a }}{% endfor %}{% endfor %}", ""),
    ("{% for a in 'x' * 99999 %}{{ 'x' * 99999 }}{% endfor %}", ""),
    ("{% for a in 'x' * 99999 %}{% if 'y' in 'x' * 99999 %}{% endif %}{% endfor %}", ""),
    ("{% for a in 'x' * 9999 %}{{ a | regex_search('a{3}(b' ~ loop.index ~ ')') }}{% endfor %}", ""),
    ("{{ 'a' | regex_search('((((a{1,99}){1,99}){1,99}){1,99})') }}", "regular expression"),
    ("{{ 'a' | regex_search('(' * 5000 ~ ')' * 5000) }}", "regular expression"),
    ("{{ ['x'] | zip(['x']) | list }}", "zip"),
    ("{{ duration('P999999999Y') + duration('P999999999Y') * 9999999999 }}", ""),
    ("{{ '[' * 99999 }}", "text"),
];

#[test]
fn a_template_that_wants_all_there_is_is_stopped() {
    let mut wrong = Vec::new();
    for (source, told) in BOMBS {
        match evaluate(source) {
            Err(error) if error.to_string().contains(told) => {}
            Err(error) => wrong.push(format!("{source}: {error}")),
            Ok(value) if value.text().len() <= 100_000 && (told.is_empty() || *told == "text") => {}
            Ok(value) => wrong.push(format!("{source}: {} bytes", value.text().len())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_expression_that_other_engines_take_for_ever_for_is_quick() {
    let source = "{{ ('a' * 50000 ~ '!') | regex_search('^((a+)+)+$') }}";
    assert_eq!(evaluate(source).unwrap(), Python::None);
    assert_eq!(evaluate("{{ ('a' * 50000) | regex_search('(a*)*b') }}").unwrap(), Python::None);
}
