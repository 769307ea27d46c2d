//! The rights that AWS asks for a request, as its service authorization reference has them.

use serde_json::Value;

use crate::record::Request;

/// Action and resource; a bucket's name, a queue's, a table's, … as an ARN of the region and account of the tests.
pub fn needs(request: &Request) -> Vec<(String, String)> {
    match &*request.service {
        "dynamodb" => of_rows(request),
        "sqs" => of_queue(request),
        "s3" => of_object(request),
        "kms" => vec![(format!("kms:{}", request.target), "KEY".to_owned())],
        "events" => {
            let entries = request.body["Entries"].as_array().into_iter().flatten();
            let bus = |entry: &Value| text(&entry["EventBusName"]).rsplit('/').next().unwrap_or_default().to_owned();
            entries
                .map(|entry| {
                    (format!("events:{}", request.target), arn("events", &format!("event-bus/{}", bus(entry))))
                })
                .collect()
        }
        "cognito-idp" => {
            let pool = format!("userpool/{}", text(&request.body["UserPoolId"]));
            vec![(format!("cognito-idp:{}", request.target), arn("cognito-idp", &pool))]
        }
        "ses" => {
            let identity = format!("identity/{}", text(&request.body["FromEmailAddress"]));
            vec![("ses:SendEmail".to_owned(), arn("ses", &identity))]
        }
        other => panic!("which rights does {other} ask for? {request:?}"),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:us-east-1:000000000000:{resource}")
}

fn table(name: &Value) -> String {
    arn("dynamodb", &format!("table/{}", text(name)))
}

fn of_rows(request: &Request) -> Vec<(String, String)> {
    let body = &request.body;
    match &*request.target {
        // A transaction has no right of its own.
        "TransactWriteItems" => {
            let items = body["TransactItems"].as_array().expect("a transaction has items");
            let parts = items.iter().flat_map(|item| item.as_object().expect("an item is an object"));
            let action = |kind: &str| {
                if kind == "ConditionCheck" { "ConditionCheckItem".to_owned() } else { format!("{kind}Item") }
            };
            parts.map(|(kind, what)| (format!("dynamodb:{}", action(kind)), table(&what["TableName"]))).collect()
        }
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().expect("a batch names tables");
            tables.keys().map(|name| ("dynamodb:BatchGetItem".to_owned(), table(&Value::from(&**name)))).collect()
        }
        "Query" | "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "DescribeTable" => {
            let index = body["IndexName"].as_str().map_or_else(String::new, |index| format!("/index/{index}"));
            vec![(format!("dynamodb:{}", request.target), table(&body["TableName"]) + &index)]
        }
        other => panic!("which rights does {other} ask for? {request:?}"),
    }
}

fn of_queue(request: &Request) -> Vec<(String, String)> {
    // Batches have no rights of their own.
    let action = request.target.strip_suffix("Batch").unwrap_or(&request.target);
    let url = request.body["QueueUrl"].as_str().unwrap_or_else(|| text(&request.body["QueueName"]));
    vec![(format!("sqs:{action}"), arn("sqs", url.rsplit('/').next().unwrap_or_default()))]
}

fn of_object(request: &Request) -> Vec<(String, String)> {
    let (bucket, key) =
        request.path.trim_start_matches('/').split_once('/').unwrap_or((request.path.trim_matches('/'), ""));
    let has = |name: &str| request.query.contains_key(name);
    let (on_bucket, on_object) = (format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/{key}"));
    let need = |action: &str, on: &str| (format!("s3:{action}"), on.to_owned());
    match &*request.method {
        "GET" if key.is_empty() && has("list-type") => vec![need("ListBucket", &on_bucket)],
        "HEAD" if key.is_empty() => vec![need("ListBucket", &on_bucket)],
        "GET" if has("retention") => vec![need("GetObjectRetention", &on_object)],
        "PUT" if has("retention") => vec![need("PutObjectRetention", &on_object)],
        "GET" | "HEAD" if has("versionId") => vec![need("GetObjectVersion", &on_object)],
        // Without the right to list, an absent object looks forbidden.
        "GET" | "HEAD" if request.status == Some(404) => {
            vec![need("GetObject", &on_object), need("ListBucket", &on_bucket)]
        }
        "GET" | "HEAD" if !key.is_empty() => vec![need("GetObject", &on_object)],
        "PUT" | "POST" if request.locks => vec![need("PutObject", &on_object), need("PutObjectRetention", &on_object)],
        "PUT" => vec![need("PutObject", &on_object)],
        "POST" if has("uploads") || has("uploadId") => vec![need("PutObject", &on_object)],
        "DELETE" if has("uploadId") => vec![need("AbortMultipartUpload", &on_object)],
        "DELETE" if has("versionId") => vec![need("DeleteObjectVersion", &on_object)],
        "DELETE" => vec![need("DeleteObject", &on_object)],
        _ => panic!("which rights does this ask for? {request:?}"),
    }
}
