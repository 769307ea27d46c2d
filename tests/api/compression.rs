//! Answers are compressed where it saves something.

use crate::kit::App;

#[tokio::test(flavor = "multi_thread")]
async fn answers_larger_than_a_packet_are_compressed_for_whoever_takes_that_and_small_ones_come_as_they_are() {
    let app = App::start().await;
    #[expect(clippy::disallowed_methods, reason = "a test's own client, which undoes no compression, reaches loopback")]
    let client = reqwest::Client::builder().no_gzip().no_brotli().no_zstd().no_deflate().build().unwrap();
    for (path, taken, coding) in [
        ("/system/version", "gzip", None),
        ("/system/openapi.json", "gzip", Some("gzip")),
        ("/system/openapi.json", "identity", None),
    ] {
        let answer = client.get(format!("{}{path}", app.url())).header("accept-encoding", taken).send().await.unwrap();
        let found = answer.headers().get("content-encoding").map(|coding| coding.to_str().unwrap());
        assert_eq!(found, coding, "{path} for {taken}");
        assert_eq!(answer.bytes().await.unwrap().starts_with(b"{"), coding.is_none(), "{path} for {taken}");
    }
    app.stop().await;
}
