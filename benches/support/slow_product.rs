//! A product of 127.0.0.1 in a process of its own that takes half a second for each page of ten records, and has pages for ever.

use std::{io, time::Duration};

use listbackup_connectors::manifest::ManifestIntegration;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

const LATENCY: Duration = Duration::from_millis(500);
const PAGE_RECORDS: u64 = 10;

const MANIFEST: &str = r#"
version: "6.0.0"
type: DeclarativeSource
check: { type: CheckStream, stream_names: [contacts] }
streams:
  - type: DeclarativeStream
    name: contacts
    primary_key: id
    retriever:
      type: SimpleRetriever
      requester: { type: HttpRequester, url_base: URL, path: /contacts, http_method: GET }
      record_selector: { type: RecordSelector, extractor: { type: DpathExtractor, field_path: [results] } }
      paginator:
        type: DefaultPaginator
        page_token_option: { type: RequestOption, inject_into: request_parameter, field_name: page }
        pagination_strategy: { type: PageIncrement, page_size: 10, inject_on_first_request: true }
    schema_loader:
      type: InlineSchemaLoader
      schema: { type: object, additionalProperties: true, properties: { id: { type: integer } } }
"#;

/// How it is read.
pub fn integration(name: &str, url: &str) -> ManifestIntegration {
    ManifestIntegration::parse(name, "slow_product.yaml", &MANIFEST.replace("URL", url)).expect("a sound manifest")
}

/// Serves `GET /contacts?page=N` on a free port for ever; prints the address first.
///
/// # Errors
/// When it cannot listen.
pub fn serve() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (connection, _) = listener.accept().await?;
            // A client that goes away ends its connection, not the server.
            tokio::spawn(answer_all(connection));
        }
    })
}

async fn answer_all(connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let (mut connection, mut line, mut page) = (BufReader::new(connection), String::new(), None);
    while connection.read_line(&mut line).await? > 0 {
        page = page.or_else(|| line.split_once("page=")?.1.split([' ', '&']).next()?.parse().ok());
        if line.trim_end().is_empty() {
            tokio::time::sleep(LATENCY).await;
            connection.write_all(answer(page.take().unwrap_or(0)).as_bytes()).await?;
        }
        line.clear();
    }
    Ok(())
}

fn answer(page: u64) -> String {
    let name = "x".repeat(900);
    let ids = page * PAGE_RECORDS..(page + 1) * PAGE_RECORDS;
    let records: Vec<String> = ids.map(|id| format!(r#"{{"id":{id},"name":"{name}"}}"#)).collect();
    let body = format!(r#"{{"results":[{}]}}"#, records.join(","));
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
