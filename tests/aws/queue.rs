//! Queues in SQS.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use listbackup_engine::{
    ErrorKind,
    adapters::aws::{AwsClients, AwsOptions, AwsSettings, SqsQueue},
    ports::{Queue, QueueName},
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

use crate::{
    aws,
    servers::aws::{StandIn, options, settings},
    suites::queue::{Delivering, Known, PROMISES},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_are_delivered_as_promised_on_ministack() {
    let known = Known { has_no_turns: true, tells_no_age: true, ..Known::default() };
    messages_are_delivered_as_promised(StandIn::MiniStack, known).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_are_delivered_as_promised_on_moto() {
    // SQS may take an old receipt, too; moto always does. And it looks whether a message is free and takes it in two steps, without a
    // lock: `receive_message` in its moto/sqs/models.py.
    messages_are_delivered_as_promised(
        StandIn::Moto,
        Known { has_no_turns: true, takes_old_receipts: true, tells_no_age: true, hands_out_twice: true },
    )
    .await;
}

/// Time is the service's own, so the promises are tested side by side, each on queues of its own.
async fn messages_are_delivered_as_promised(stand_in: StandIn, known: Known) {
    let Some(aws) = aws(stand_in).await else { return };
    let promises = (0..PROMISES).map(async |promise| {
        let stage = format!("promise-{promise}");
        let settings = AwsSettings::new(AwsOptions { stage, ..options(aws.url()) }).unwrap();
        aws.make_queues(&settings).await;
        let delivering = Delivering {
            queue: Arc::new(SqsQueue::new(&aws.clients, &settings)),
            visibility: Duration::from_secs(4),
            meanwhile: Duration::from_secs(2),
            delay: Duration::from_secs(4),
            gives_back: true,
            known,
        };
        delivering.keeps(promise).await;
    });
    join_all(promises).await;
}

const QUEUE_URL: &str = "http://sqs/1/listbackup-test-jobs";

#[tokio::test]
async fn messages_that_sqs_did_not_take_are_sent_again_and_ids_keep_their_order() {
    let sqs = sqs().await;
    let partly = answer(json!({
        "Successful": [sent(2), sent(0)],
        "Failed": [failed(1, "InternalError", false), failed(3, "RequestThrottled", true)],
    }));
    on(&sqs, "SendMessageBatch").respond_with(partly).up_to_n_times(1).expect(1).mount(&sqs).await;
    let rest = answer(json!({ "Successful": [sent(3), sent(1)], "Failed": [] }));
    on(&sqs, "SendMessageBatch").respond_with(rest).expect(1).mount(&sqs).await;

    let ids = queue(&sqs).await.send(QueueName::Jobs, (0..4).map(|n| json!(n)).collect(), Duration::ZERO).await;
    assert_eq!(ids.unwrap(), ["m0", "m1", "m2", "m3"]);
    let sent = requests(&sqs, "SendMessageBatch").await;
    let places = |request: &Value| -> Vec<_> {
        request["Entries"].as_array().unwrap().iter().map(|entry| entry["MessageBody"].clone()).collect()
    };
    assert_eq!(sent.iter().map(places).collect::<Vec<_>>(), [vec!["0", "1", "2", "3"], vec!["1", "3"]]);
}

#[tokio::test]
async fn what_is_never_taken_ends_with_an_error_that_says_whether_trying_again_helps() {
    for (code, is_our_fault, kind, attempts) in
        [("InternalError", false, ErrorKind::Retry, 5), ("InvalidMessageContents", true, ErrorKind::Invalid, 1)]
    {
        let sqs = sqs().await;
        let refusal = answer(json!({ "Successful": [], "Failed": [failed(0, code, is_our_fault)] }));
        on(&sqs, "SendMessageBatch").respond_with(refusal).expect(attempts).mount(&sqs).await;
        let sent = queue(&sqs).await.send(QueueName::Jobs, vec![json!(1)], Duration::ZERO).await;
        assert_eq!(sent.unwrap_err().kind(), kind, "{code}");
    }
}

#[tokio::test]
async fn messages_go_in_requests_that_sqs_takes_each_with_its_account_as_its_group() {
    let sqs = sqs().await;
    let all = |request: &Request| {
        let request: Value = serde_json::from_slice(&request.body).unwrap();
        let sent: Vec<_> = (0..request["Entries"].as_array().unwrap().len()).map(sent).collect();
        answer(json!({ "Successful": sent, "Failed": [] }))
    };
    on(&sqs, "SendMessageBatch").respond_with(all).mount(&sqs).await;
    let queue = queue(&sqs).await;
    let large = json!("x".repeat(150 * 1024));
    let bodies = [vec![json!({ "accountId": "acc_1" }); 11], vec![large.clone(), large]].concat();
    assert_eq!(queue.send(QueueName::Jobs, bodies, Duration::from_secs(3600)).await.unwrap().len(), 13);
    let requests = requests(&sqs, "SendMessageBatch").await;
    let entries: Vec<_> = requests.iter().map(|request| request["Entries"].as_array().unwrap()).collect();
    assert_eq!(entries.iter().map(|entries| entries.len()).collect::<Vec<_>>(), [10, 2, 1]);
    assert_eq!(entries[0][0]["MessageGroupId"], "acc_1");
    assert_eq!(entries[2][0].get("MessageGroupId"), None);
    assert_eq!(entries[0][0]["DelaySeconds"], 900, "a longer delay is cut");
}

#[tokio::test]
async fn a_lost_answer_is_no_lost_message() {
    let sqs = sqs().await;
    on(&sqs, "SendMessageBatch")
        .respond_with(refusal(503, "ServiceUnavailable"))
        .up_to_n_times(1)
        .expect(1)
        .mount(&sqs)
        .await;
    let all = answer(json!({ "Successful": [sent(0)], "Failed": [] }));
    on(&sqs, "SendMessageBatch").respond_with(all).expect(1).mount(&sqs).await;
    let ids = queue(&sqs).await.send(QueueName::Jobs, vec![json!(1)], Duration::ZERO).await;
    assert_eq!(ids.unwrap(), ["m0"]);
}

#[tokio::test]
async fn more_messages_than_one_request_brings_come_together_and_none_in_hand_is_lost_to_a_fault() {
    let sqs = sqs().await;
    let page = |from: u32| {
        let messages =
            (from..from + 10).map(|n| json!({ "MessageId": n.to_string(), "ReceiptHandle": "r", "Body": "1" }));
        answer(json!({ "Messages": messages.collect::<Vec<_>>() }))
    };
    for from in [0, 10] {
        on(&sqs, "ReceiveMessage").respond_with(page(from)).up_to_n_times(1).expect(1).mount(&sqs).await;
    }
    on(&sqs, "ReceiveMessage").respond_with(refusal(403, "AccessDenied")).expect(1).mount(&sqs).await;
    let visibility = Duration::from_millis(1500);
    let received = queue(&sqs).await.receive(QueueName::Jobs, 25, visibility, Duration::from_secs(60)).await.unwrap();
    assert_eq!(received.iter().map(|m| m.id.parse::<u32>().unwrap()).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    let asked = requests(&sqs, "ReceiveMessage").await;
    let asked: Vec<_> = asked
        .iter()
        .map(|asked| (&asked["MaxNumberOfMessages"], &asked["WaitTimeSeconds"], &asked["VisibilityTimeout"]))
        .collect();
    let (ten, five, none, two) = (json!(10), json!(5), json!(0), json!(2));
    assert_eq!(asked, [(&ten, &json!(20), &two), (&ten, &none, &two), (&five, &none, &two)]);
}

#[tokio::test]
async fn what_sqs_refuses_says_whether_trying_again_helps_and_which_queue_it_is() {
    for (code, kind) in [
        ("RequestThrottled", ErrorKind::Retry),
        ("AccessDenied", ErrorKind::Invalid),
        ("AWS.SimpleQueueService.NonExistentQueue", ErrorKind::Invalid),
    ] {
        let sqs = MockServer::start().await;
        Mock::given(matchers::any()).respond_with(refusal(400, code)).mount(&sqs).await;
        let error = queue(&sqs).await.send(QueueName::Data, vec![json!(1)], Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("listbackup-test-data"), "{error}");
    }
}

#[tokio::test]
async fn a_redriven_letter_that_cannot_be_sent_stays_a_dead_letter() {
    let sqs = sqs().await;
    let letter = json!({ "Messages": [{ "MessageId": "letter", "ReceiptHandle": "r", "Body": "1" }] });
    on(&sqs, "ReceiveMessage").respond_with(answer(letter)).mount(&sqs).await;
    on(&sqs, "ChangeMessageVisibilityBatch")
        .respond_with(answer(json!({ "Successful": [], "Failed": [] })))
        .mount(&sqs)
        .await;
    let refusal = answer(json!({ "Successful": [], "Failed": [failed(0, "InternalError", false)] }));
    on(&sqs, "SendMessageBatch").respond_with(refusal).mount(&sqs).await;
    on(&sqs, "DeleteMessage").respond_with(answer(json!({}))).expect(0).mount(&sqs).await;
    let redriven = queue(&sqs).await.redrive(QueueName::Jobs, "letter").await;
    assert_eq!(redriven.unwrap_err().kind(), ErrorKind::Retry);
}

#[tokio::test]
async fn a_letter_that_somebody_else_looks_at_is_not_said_to_be_gone() {
    for (held, expected) in [("0", Ok(false)), ("3", Err(ErrorKind::Retry))] {
        let sqs = sqs().await;
        on(&sqs, "ReceiveMessage").respond_with(answer(json!({}))).mount(&sqs).await;
        let attributes = json!({ "Attributes": { "ApproximateNumberOfMessagesNotVisible": held } });
        on(&sqs, "GetQueueAttributes").respond_with(answer(attributes)).mount(&sqs).await;
        let redriven = queue(&sqs).await.redrive(QueueName::Jobs, "letter").await;
        assert_eq!(redriven.map_err(|error| error.kind()), expected);
    }
}

async fn sqs() -> MockServer {
    let sqs = MockServer::start().await;
    // Asked for once, and kept.
    let url = answer(json!({ "QueueUrl": QUEUE_URL }));
    on(&sqs, "GetQueueUrl").respond_with(url).expect(0..=2).mount(&sqs).await;
    sqs
}

async fn queue(sqs: &MockServer) -> SqsQueue {
    let settings = settings(sqs.uri());
    SqsQueue::new(&AwsClients::new(&settings).await, &settings)
}

fn on(_: &MockServer, operation: &str) -> wiremock::MockBuilder {
    Mock::given(matchers::header("x-amz-target", format!("AmazonSQS.{operation}").as_str()))
}

async fn requests(sqs: &MockServer, operation: &str) -> Vec<Value> {
    let target = format!("AmazonSQS.{operation}");
    let requests = sqs.received_requests().await.unwrap().into_iter();
    requests
        .filter(|request| request.headers["x-amz-target"] == target.as_str())
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect()
}

fn refusal(status: u16, code: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "__type": code, "message": "as told" }))
}

fn answer(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn sent(place: usize) -> Value {
    json!({ "Id": place.to_string(), "MessageId": format!("m{place}"), "MD5OfMessageBody": "" })
}

fn failed(place: usize, code: &str, is_our_fault: bool) -> Value {
    json!({ "Id": place.to_string(), "Code": code, "SenderFault": is_our_fault, "Message": "as told" })
}
