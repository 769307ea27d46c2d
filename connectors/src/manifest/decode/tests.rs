//! What decoders make of bodies; the facts are the reference's.

use std::io::Write as _;

use super::*;

fn all(decoder: &Decoder, body: impl Into<Vec<u8>>) -> Result<String> {
    let pieces = decoder.open(Bytes::from(body.into()))?;
    let pieces = pieces.map(|piece| Ok(String::from_utf8(piece?.to_vec()).unwrap())).collect::<Result<Vec<_>>>()?;
    Ok(pieces.join("|"))
}

fn csv(delimiter: u8, nothings: &[&str], encoding: Encoding) -> Decoder {
    Decoder::Csv(CsvFormat::of(encoding, delimiter, nothings.iter().map(|word| (*word).to_owned()).collect()))
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Facts taken from the reference's `CsvParser`.
#[test]
fn csv_is_read_as_the_reference_reads_it() {
    let facts: [(&str, &str); 10] = [
        ("a,b\n1,2\n", r#"[{"a":"1","b":"2"}]"#),
        ("a,b\r\n1,\"x\r\ny\"\r\n\r\n3,4", r#"[{"a":"1","b":"x\ny"},{"a":"3","b":"4"}]"#),
        ("a,b\n1\n", r#"[{"a":"1","b":null}]"#),
        ("a,b\n1,2,3,4\n", r#"[{"a":"1","b":"2","null":["3","4"]}]"#),
        ("a,b,a\n1,2,3\n", r#"[{"a":"3","b":"2"}]"#),
        ("a,b\n\"x\"\"y\",\"p\"q\n", r#"[{"a":"x\"y","b":"pq"}]"#),
        ("a,b\nx\"y,\"\"\n", r#"[{"a":"x\"y","b":""}]"#),
        ("a,b\n,\n", r#"[{"a":"","b":""}]"#),
        ("a\n\"open", r#"[{"a":"open"}]"#),
        ("", "[]"),
    ];
    for (text, expected) in facts {
        assert_eq!(all(&csv(b',', &[], Encoding::Utf8), text).unwrap(), expected, "{text:?}");
    }
    assert_eq!(all(&csv(b'\t', &["NA", ""], Encoding::Utf8), "a\tb\nNA\t\n").unwrap(), r#"[{"a":null,"b":null}]"#);
    assert_eq!(
        all(&csv(b';', &[], Encoding::Latin1), b"a;b\n\xe9;\x80".to_vec()).unwrap(),
        "[{\"a\":\"é\",\"b\":\"\u{80}\"}]"
    );
    assert_eq!(all(&csv(b',', &[], Encoding::Utf8Marked), "\u{feff}a\n1").unwrap(), r#"[{"a":"1"}]"#);
    assert_eq!(all(&csv(b',', &[], Encoding::Utf8), "\u{feff}a\n1").unwrap(), "[{\"\u{feff}a\":\"1\"}]");
    assert!(all(&csv(b',', &[], Encoding::Utf8), b"a\n\xff".to_vec()).is_err());
}

/// Facts taken from running `xmltodict`.
#[test]
fn xml_is_read_as_the_reference_reads_it() {
    let facts: [(&str, &str); 8] = [
        ("<a><b>1</b><b>2</b></a>", r#"{"a":{"b":["1","2"]}}"#),
        ("<?xml version='1.0'?><a x='1'> t <b/></a>", r##"{"a":{"@x":"1","b":null,"#text":"t"}}"##),
        ("<a>x &amp; y&#33;<![CDATA[ <z> ]]></a>", r#"{"a":"x & y! <z>"}"#),
        ("<a>  </a>", r#"{"a":null}"#),
        ("<a xmlns:n='u'><n:b n:c='2'>3</n:b></a>", r##"{"a":{"@xmlns:n":"u","n:b":{"@n:c":"2","#text":"3"}}}"##),
        ("<a>1<!-- no -->2<b>3</b>4</a>", r##"{"a":{"b":"3","#text":"124"}}"##),
        ("<a><b><c/></b><b x='1'/><b/></a>", r#"{"a":{"b":[{"c":null},{"@x":"1"},null]}}"#),
        ("<a b='&lt;&quot;'/>", r#"{"a":{"@b":"<\""}}"#),
    ];
    for (text, expected) in facts {
        assert_eq!(all(&Decoder::Xml, text).unwrap(), expected, "{text}");
    }
    for text in ["", "<a>", "<a></b>", "text", "<a/><b/>", "<a>&unknown;</a>", "<a/>x"] {
        assert_eq!(all(&Decoder::Xml, text).unwrap_err().kind(), ErrorKind::BadAnswer, "{text}");
    }
}

#[test]
fn lines_and_items_are_found() {
    assert_eq!(all(&Decoder::JsonLines, "{\"a\":1}\r\n\n [1.50]\n").unwrap(), r#"[{"a":1},[1.50]]"#);
    assert_eq!(all(&Decoder::JsonLines, "{\"a\":1}\n{\"a\"").unwrap_err().kind(), ErrorKind::BadAnswer);
    assert_eq!(all(&Decoder::Lines, "a\r\n\nb\"").unwrap(), r#"[{"record":"a"},{"record":""},{"record":"b\""}]"#);
    let items = |path: &[&str]| Decoder::JsonItems {
        path: path.iter().map(|step| (*step).to_owned()).collect(),
        encoding: Encoding::Utf8,
    };
    let text = r#"{"x":[0],"data":{"users":[{"id":1.0},{"id":2}]}}"#;
    assert_eq!(all(&items(&["data", "users"]), text).unwrap(), r#"[{"id":1.0},{"id":2}]"#);
    assert_eq!(all(&items(&["data", "none"]), text).unwrap(), "[]");
    assert!(all(&items(&["x"]), "{\"x\":[1").is_err());
}

#[test]
fn compressed_bodies_are_unpacked_and_plain_ones_pass() {
    let gzip = |inner| Decoder::Gzip(Box::new(inner));
    assert_eq!(all(&gzip(Decoder::JsonLines), gzipped("{\"a\":1}\n")).unwrap(), r#"[{"a":1}]"#);
    assert_eq!(all(&gzip(Decoder::Json), "[1]").unwrap(), "[1]");
    assert_eq!(all(&gzip(gzip(Decoder::Json)), gzipped("{}")).unwrap(), "{}");
    let twice = [gzipped("a\n1\n"), gzipped("2\n")].concat();
    assert_eq!(all(&gzip(csv(b',', &[], Encoding::Utf8)), twice).unwrap(), r#"[{"a":"1"},{"a":"2"}]"#);
    let cut = gzipped(&"x".repeat(10_000));
    assert_eq!(all(&gzip(Decoder::Json), cut[..cut.len() - 9].to_vec()).unwrap_err().kind(), ErrorKind::BadAnswer);
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [("1.csv", "a\n1\n"), ("2.csv", "a\n2\n")] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    let archive = archive.finish().unwrap().into_inner();
    let zip = Decoder::Zip(Box::new(csv(b',', &[], Encoding::Utf8)));
    assert_eq!(all(&zip, archive).unwrap(), r#"[{"a":"1"}]|[{"a":"2"}]"#);
    assert!(all(&zip, "no zip").is_err());
}

#[test]
fn what_unpacks_to_any_size_ends_with_an_error() {
    let bomb = gzipped(&" ".repeat(WHOLE_MAX_BYTES as usize + 1));
    let error = all(&Decoder::Gzip(Box::new(Decoder::Json)), bomb).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadAnswer);
}

#[test]
fn a_large_body_comes_in_pieces() {
    let text = format!("a\n{}", "0123456789\n".repeat(200_000));
    let pieces: Vec<Bytes> =
        csv(b',', &[], Encoding::Utf8).open(Bytes::from(text)).unwrap().collect::<Result<_>>().unwrap();
    assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 64), "{} pieces", pieces.len());
}

/// Facts taken from the reference's `ResponseToFileExtractor`.
#[test]
fn reports_are_read_as_the_reference_reads_them() {
    let text = "a,a,,b\n1,NA,\"\",x\n\n2\0,n/a\n";
    let expected =
        r#"[{"a":"1","a.1":null,"Unnamed: 2":null,"b":"x"},{"a":"2","a.1":null,"Unnamed: 2":null,"b":null}]"#;
    assert_eq!(all(&Decoder::Report { keeps_words: false }, text).unwrap(), expected);
    assert_eq!(all(&Decoder::Report { keeps_words: false }, gzipped(text)).unwrap(), expected);
    let kept = r#"[{"a":"1","a.1":"NA","Unnamed: 2":null,"b":"x"},{"a":"2","a.1":"n/a","Unnamed: 2":null,"b":null}]"#;
    assert_eq!(all(&Decoder::Report { keeps_words: true }, text).unwrap(), kept);
    assert!(all(&Decoder::Report { keeps_words: false }, "a\n1,2\n").is_err());
}
