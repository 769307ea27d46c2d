//! Promises about outgoing requests: which addresses are reached, what goes where, and what a hostile server can cost; and where no secret
//! is ever found.

#[path = "security/bombs.rs"]
mod bombs;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod program;
#[path = "api/receiver.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod receiver;
#[path = "support/running.rs"]
mod running;
#[path = "security/secrets.rs"]
mod secrets;
#[path = "support/servers/mod.rs"]
mod servers;

#[path = "security/guarded.rs"]
mod guarded;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use listbackup_connectors::{
    ErrorKind,
    http::{AddressGuard, HttpClient, HttpClientBuilder, Limits, Request},
};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{AUTHORIZATION, COOKIE},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

/// Addresses of the public Internet: the guard lets them pass.
const PUBLIC: &[&str] = &[
    "http://8.8.8.8/",
    "https://1.1.1.1/",
    "http://93.184.215.14/",
    "http://100.63.255.255/",
    "http://100.128.0.1/",
    "http://172.15.255.255/",
    "http://172.32.0.1/",
    "http://192.167.255.255/",
    "http://198.17.255.255/",
    "http://198.20.0.1/",
    "http://223.255.255.255/",
    "http://134744072/",
    "http://[2600::1]/",
    "http://[2a00:1450:4001:830::200e]/",
    "http://[2620:fe::fe]/",
];

/// Everything else, in every spelling that ends up as one of these addresses.
const REFUSED: &[&str] = &[
    // Loopback.
    "http://127.0.0.1/",
    "http://127.0.0.1:8080/x",
    "http://127.255.255.254/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7F.1/",
    "http://017700000001/",
    "http://0177.0.0.01/",
    "http://%31%32%37.0.0.1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://user@127.0.0.1/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[0000::0001]:80/",
    // Unspecified.
    "http://0.0.0.0/",
    "http://0/",
    "http://0.1.2.3/",
    "http://[::]/",
    // Private, carrier-grade NAT, unique local.
    "http://10.0.0.1/",
    "http://012.0.0.1/",
    "http://10.255.255.255/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://3232235521/",
    "http://100.64.0.1/",
    "http://100.127.255.255/",
    "http://[fc00::1]/",
    "http://[fd12:3456:789a::1]/",
    // Link-local and the metadata services of the clouds.
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://0251.0376.0251.0376/",
    "http://169.254.170.2/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://[febf::1]/",
    "http://[fec0::1]/",
    // Addresses inside addresses: v4-mapped, v4-compatible, NAT64, 6to4, Teredo.
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001::1]/",
    // Multicast, broadcast, reserved, documentation, benchmarking.
    "http://224.0.0.1/",
    "http://239.255.255.255/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://192.0.2.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://198.18.0.1/",
    "http://192.88.99.1/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[100::1]/",
    "http://[5f00::1]/",
];

#[test]
fn a_server_reaches_public_addresses_only_however_they_are_written() {
    let guard = AddressGuard::public_only();
    for text in PUBLIC {
        assert!(guard.check_url(&url(text)).is_ok(), "{text} is public");
    }
    for text in REFUSED {
        let url = url(text);
        assert!(url.host_str().is_some_and(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()), "{url}");
        let error = guard.check_url(&url).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Denied, "{text}: {error}");
    }
}

#[test]
fn a_person_reaches_everything_and_an_operator_what_was_listed() {
    let guard = AddressGuard::allowing(vec!["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    assert!(guard.check_url(&url("http://10.1.2.3/")).is_ok());
    assert!(guard.check_url(&url("http://[fd00::1]/")).is_ok());
    assert!(guard.check_url(&url("http://10.2.0.1/")).is_err());
    assert!(guard.check_url(&url("http://[::ffff:10.1.2.3]/")).is_err(), "another spelling is another network");
    for text in REFUSED {
        assert!(AddressGuard::person().check_url(&url(text)).is_ok(), "{text}");
    }
}

#[test]
fn only_http_and_https_are_requested() {
    for text in ["file:///etc/passwd", "ftp://8.8.8.8/", "gopher://8.8.8.8/", "data:text/plain,x", "unix:/run/x"] {
        assert_eq!(AddressGuard::person().check_url(&url(text)).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_when_it_is_resolved() {
    let client = HttpClientBuilder::new(AddressGuard::public_only()).build().unwrap();
    let error = client.send_once(Request::get(url("http://localhost:9/?key=secret"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn what_was_checked_is_what_is_connected_even_when_the_name_changes_its_mind() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let port = server.address().port();
    // Checked: 127.0.0.1, listed by the operator. A second look-up would lead to another machine inside.
    let names = Names::answering(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let guard = AddressGuard::allowing(vec!["127.0.0.1".parse().unwrap()]).resolving_with(names.clone());
    let client = HttpClientBuilder::new(guard).build().unwrap();
    let target = url(&format!("http://rebinding.example:{port}/"));
    assert_eq!(client.send_once(Request::get(target.clone())).await.unwrap().status, 200);
    assert_eq!(names.asked(), 1);

    let names = Names::answering(&[&["127.0.0.2"]]);
    let guard = AddressGuard::allowing(vec!["127.0.0.1".parse().unwrap()]).resolving_with(names);
    let client = HttpClientBuilder::new(guard).build().unwrap();
    assert_eq!(client.send_once(Request::get(target)).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn of_a_mixed_answer_only_the_public_part_is_tried() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let names = Names::answering(&[&["10.0.0.1", "169.254.169.254", "127.0.0.1"]]);
    let guard = AddressGuard::allowing(vec!["127.0.0.1".parse().unwrap()]).resolving_with(names);
    let client = HttpClientBuilder::new(guard).build().unwrap();
    let target = url(&format!("http://mixed.example:{}/", server.address().port()));
    assert_eq!(client.send_once(Request::get(target)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_redirect_into_the_inside_is_refused() {
    for inside in
        ["http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://10.0.0.1/", "file:///etc/passwd"]
    {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(302).insert_header("location", inside))
            .mount(&server)
            .await;
        let error = local_client(Limits::default()).send_once(Request::get(url(&server.uri()))).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid), "{inside}: {error}");
    }
}

#[tokio::test]
async fn credentials_are_not_carried_to_another_origin() {
    let (ours, theirs) = (MockServer::start().await, MockServer::start().await);
    Mock::given(any())
        .respond_with(ResponseTemplate::new(307).insert_header("location", theirs.uri()))
        .mount(&ours)
        .await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&theirs).await;
    let mut request = Request::get(url(&ours.uri()))
        .with_secret(AUTHORIZATION, "Bearer canary")
        .and_then(|request| request.with_secret("x-api-key".parse().unwrap(), "canary"))
        .unwrap();
    request.headers.insert(COOKIE, "session=canary".parse().unwrap());
    request.headers.insert("x-plain", "kept".parse().unwrap());
    local_client(Limits::default()).send_once(request).await.unwrap();
    let first = &ours.received_requests().await.unwrap()[0];
    assert!(first.headers.contains_key("authorization") && first.headers.contains_key("x-api-key"));
    let second = &theirs.received_requests().await.unwrap()[0];
    assert!(!format!("{:?}", second.headers).contains("canary"), "{:?}", second.headers);
    assert_eq!(second.headers["x-plain"], "kept");
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(302).insert_header("location", "/again"))
        .mount(&server)
        .await;
    let error = local_client(Limits::default()).send_once(Request::get(url(&server.uri()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadAnswer);
    assert_eq!(server.received_requests().await.unwrap().len(), 11);
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_announced_or_not() {
    let limits = Limits { body_max_bytes: 100_000, ..Limits::default() };
    let server = MockServer::start().await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 100_001]))
        .mount(&server)
        .await;
    let error = local_client(limits.clone()).send_once(Request::get(url(&server.uri()))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadAnswer, "{error}");

    let endless = serve(async |mut peer| {
        peer.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
        loop {
            peer.write_all(&[b'x'; 4096]).await?;
        }
    })
    .await;
    let error = local_client(limits).send_once(Request::get(endless)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadAnswer, "{error}");
}

#[tokio::test]
async fn a_decompression_bomb_is_cut() {
    for (coding, bomb) in [("gzip", bombs::gzip()), ("zstd", bombs::zstd())] {
        assert!(bomb.len() < 6_000_000, "{coding}: {} bytes", bomb.len());
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(200).insert_header("content-encoding", coding).set_body_bytes(bomb);
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let limits = Limits { body_max_bytes: 1 << 20, ..Limits::default() };
        let error = local_client(limits).send_once(Request::get(url(&server.uri()))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadAnswer, "{coding}: {error}");
        assert!(error.to_string().contains("1048576 bytes after decompression"), "{coding}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_trickles_is_cut() {
    let trickle = serve(async |mut peer| {
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
        loop {
            peer.write_all(b"x").await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    let began = tokio::time::Instant::now();
    let error = local_client(Limits::default()).send_once(Request::get(trickle)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(began.elapsed().as_secs(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_left() {
    let silent = serve(async |_peer| std::future::pending().await).await;
    let began = tokio::time::Instant::now();
    let error = local_client(Limits::default()).send_once(Request::get(silent)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    assert_eq!(began.elapsed().as_secs(), 90);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_not_a_short_page() {
    let cut =
        serve(async |mut peer| peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\":[").await)
            .await;
    let error = local_client(Limits::default()).send_once(Request::get(cut)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A client of an operator who listed this machine.
fn local_client(limits: Limits) -> HttpClient {
    let guard = AddressGuard::allowing(vec!["127.0.0.1".parse().unwrap()]);
    HttpClientBuilder { limits, ..HttpClientBuilder::new(guard) }.build().unwrap()
}

/// A server that reads one request head from each connection and then does as `answer` says.
async fn serve<F: Future<Output = std::io::Result<()>> + Send + 'static>(
    answer: impl Fn(TcpStream) -> F + Send + 'static,
) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = url(&format!("http://{}/", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut head = [0; 4096];
            if peer.read(&mut head).await.is_ok() {
                tokio::spawn(answer(peer));
            }
        }
    });
    address
}

/// A name server that answers each question with the next of its answers, and the last one from then on.
struct Names {
    answers: Vec<Vec<SocketAddr>>,
    asked: AtomicUsize,
}

impl Names {
    fn answering(answers: &[&[&str]]) -> Arc<Self> {
        let address = |text: &&str| SocketAddr::new(text.parse().unwrap(), 0);
        let answers = answers.iter().map(|answer| answer.iter().map(address).collect()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Resolve for Names {
    fn resolve(&self, _name: Name) -> Resolving {
        let question = self.asked.fetch_add(1, Ordering::Relaxed).min(self.answers.len() - 1);
        let addresses = self.answers[question].clone();
        Box::pin(std::future::ready(Ok(Box::new(addresses.into_iter()) as Addrs)))
    }
}
