//! What the templates of `deploy/` promise, and that `deploy.sh` carries them out. AWS itself is not here: ministack drops what
//! guards against loss, so that is read in the templates.

#[path = "support/servers/mod.rs"]
mod servers;
#[path = "deploy/template.rs"]
mod template;
#[path = "support/tree.rs"]
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Output},
};

use listbackup::{caller::Guard, routes::served, state::Service};
use listbackup_engine::{
    model::activity_kind::{ActivityKind, FAMILIES},
    tables::{self, Attribute, AttributeType, TableSchema},
};
use serde_json::{Value, json};
use template::{Template, rights, rights_of, roles, text_of};

/// The longest template that can be sent without a bucket.
const TEMPLATE_BYTES_MAX: usize = 51_200;

#[test]
fn the_tables_are_those_of_the_schema() {
    let core = Template::read("core.yaml");
    let made: BTreeMap<_, _> = core
        .resources("AWS::DynamoDB::Table")
        .map(|(_, table)| {
            let mut about = table["Properties"].clone();
            let name = text_of(&about["TableName"]).to_owned();
            about["AttributeDefinitions"].as_array_mut().unwrap().sort_by_key(Value::to_string);
            (name, about)
        })
        .collect();
    let wanted: BTreeMap<_, _> =
        tables::ALL.iter().map(|table| (format!("listbackup-${{Stage}}-{}", table.name), properties(table))).collect();
    for (name, table) in &wanted {
        assert_eq!(made.get(name), Some(table), "{name}");
    }
    assert_eq!(made.len(), wanted.len());
}

/// A table as its template has it.
fn properties(table: &TableSchema) -> Value {
    let keys = |partition: Attribute, sort: Option<Attribute>| {
        let sort = sort.map(|sort| json!({ "AttributeName": sort.name, "KeyType": "RANGE" }));
        Value::from_iter([json!({ "AttributeName": partition.name, "KeyType": "HASH" })].into_iter().chain(sort))
    };
    let of_indexes = table.indexes.iter().flat_map(|index| [Some(index.partition), index.sort]);
    let attributes = [Some(table.partition), table.sort].into_iter().chain(of_indexes).flatten();
    let kind = |attribute: &Attribute| if attribute.kind == AttributeType::Text { "S" } else { "N" };
    let mut definitions: Vec<_> =
        attributes.map(|one| json!({ "AttributeName": one.name, "AttributeType": kind(&one) })).collect();
    definitions.sort_by_key(Value::to_string);
    definitions.dedup();
    let mut made = json!({
        "TableName": { "Fn::Sub": format!("listbackup-${{Stage}}-{}", table.name) },
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": definitions,
        "KeySchema": keys(table.partition, table.sort),
        "PointInTimeRecoverySpecification": { "PointInTimeRecoveryEnabled": true },
        "DeletionProtectionEnabled": { "Ref": "Protected" },
        "SSESpecification": { "SSEEnabled": true },
    });
    if !table.indexes.is_empty() {
        let indexes = table.indexes.iter().map(|index| {
            json!({
                "IndexName": index.name,
                "KeySchema": keys(index.partition, index.sort),
                "Projection": { "ProjectionType": "KEYS_ONLY" },
            })
        });
        made["GlobalSecondaryIndexes"] = indexes.collect();
    }
    if let Some(expires) = table.expires {
        made["TimeToLiveSpecification"] = json!({ "AttributeName": expires, "Enabled": true });
    }
    made
}

#[test]
fn what_is_kept_outlives_its_stack() {
    let kinds =
        ["AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::KMS::Key", "AWS::Cognito::UserPool", "AWS::ECR::Repository"];
    let mut kept = 0;
    for template in Template::all() {
        for (name, resource) in kinds.iter().flat_map(|kind| template.resources(kind)) {
            assert_eq!(resource["DeletionPolicy"], "RetainExceptOnCreate", "{name}");
            assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
            kept += 1;
        }
    }
    assert_eq!(kept, tables::ALL.len() + 4);
}

#[test]
fn the_bucket_keeps_versions_and_lets_nobody_in_and_tells_of_snapshots() {
    let core = Template::read("core.yaml");
    let bucket = &core.value["Resources"]["Bucket"]["Properties"];
    assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
    let block = bucket["PublicAccessBlockConfiguration"].as_object().unwrap();
    assert!(block.len() == 4 && block.values().all(|blocked| *blocked == true), "{block:?}");
    let rules = bucket["LifecycleConfiguration"]["Rules"].as_array().unwrap();
    let rule = |what: &str| rules.iter().find(|rule| !rule[what].is_null() && rule["Status"] == "Enabled");
    assert!(rule("AbortIncompleteMultipartUpload").is_some());
    assert!(rule("NoncurrentVersionExpiration").is_some());
    // What is current, only the program's own retention may end.
    let ends_current =
        |rule: &Value| ["ExpirationInDays", "ExpirationDate", "Expiration"].iter().any(|what| !rule[what].is_null());
    assert!(!rules.iter().any(ends_current), "{rules:?}");
    let told = &bucket["NotificationConfiguration"]["QueueConfigurations"];
    assert_eq!(told[0]["Event"], "s3:ObjectCreated:*");
    assert_eq!(told[0]["Filter"]["S3Key"]["Rules"], json!([{ "Name": "suffix", "Value": ".snap" }]));
    assert_eq!(told[0]["Queue"], json!({ "Fn::GetAtt": "DataQueue.Arn" }));
    let refused = &core.value["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][0];
    assert_eq!(refused["Effect"], "Deny");
    assert_eq!(refused["Condition"]["Bool"]["aws:SecureTransport"], "false");
    assert_eq!(core.value["Resources"]["Key"]["Properties"]["EnableKeyRotation"], true);
}

#[test]
fn no_queue_is_without_dead_letters_and_an_alarm() {
    let core = Template::read("core.yaml");
    let queues: BTreeMap<_, _> = core.resources("AWS::SQS::Queue").collect();
    let mut dead = BTreeSet::new();
    for queue in queues.values() {
        let about = &queue["Properties"];
        assert_eq!(about["SqsManagedSseEnabled"], true, "{about}");
        if let Some(redrive) = about.get("RedrivePolicy") {
            assert_eq!(redrive["maxReceiveCount"], 5);
            dead.insert(redrive["deadLetterTargetArn"]["Fn::GetAtt"].as_str().unwrap().trim_end_matches(".Arn"));
        }
    }
    assert_eq!(dead.len() * 2, queues.len());
    let watched = |queue: &str| {
        core.resources("AWS::CloudWatch::Alarm").any(|(_, alarm)| {
            let about = &alarm["Properties"];
            about["MetricName"] == "ApproximateNumberOfMessagesVisible"
                && about["Dimensions"][0]["Value"] == json!({ "Fn::GetAtt": format!("{queue}.QueueName") })
        })
    };
    for queue in dead {
        assert!(watched(queue), "{queue}");
    }
}

fn is_kind(word: &str) -> bool {
    ActivityKind::ALL.iter().any(|kind| kind.code() == word)
}

#[test]
fn events_for_people_are_of_kinds_that_there_are() {
    let core = Template::read("core.yaml");
    for kind in
        core.value["Resources"]["EventsForPeople"]["Properties"]["EventPattern"]["detail-type"].as_array().unwrap()
    {
        assert!(is_kind(kind.as_str().unwrap()), "{kind}");
    }
}

#[test]
fn a_role_names_every_call_that_it_may_make_and_on_what() {
    for template in roles() {
        for (action, on) in template.policies().flat_map(rights) {
            let at = format!("{}: {action} on {on}", template.path);
            assert!(!action.contains('*') && action.contains(':'), "{at}");
            let is_ours = on.contains("${Stage}") || on.contains("${Pool}");
            // A sender of letters is verified by its own name, which no stage is a part of.
            let has_no_stage = action == "ecr:GetAuthorizationToken" || action == "ses:SendEmail";
            assert!(is_ours || has_no_stage, "{at}");
        }
    }
}

#[test]
fn what_cannot_be_made_good_only_those_may_do_whose_work_it_is() {
    let all: BTreeSet<_> = roles()
        .iter()
        .filter_map(|role| Some(role.path.strip_prefix("roles/")?.strip_suffix(".yaml")?.to_owned()))
        .collect();
    let who = |what: &dyn Fn(&str, &str) -> bool| -> Vec<&str> {
        let may = |name: &&String| rights_of(name).iter().any(|(action, on)| what(action, on));
        all.iter().filter(|name| *name != "shared").filter(may).map(String::as_str).collect()
    };
    assert_eq!(who(&|action, on| action == "dynamodb:DeleteItem" && on.ends_with("-activity")), Vec::<&str>::new());
    assert_eq!(who(&|action, on| action.starts_with("s3:DeleteObject") && on.ends_with("/accounts/*")), ["worker"]);
    assert_eq!(who(&|action, on| action.starts_with("s3:DeleteObject") && on.contains("/keys/")), ["accounts"]);
    assert_eq!(who(&|action, _| action == "s3:PutObjectRetention"), ["worker"]);
    assert_eq!(who(&|action, _| action.starts_with("cognito-idp:")), ["auth"]);
    let opens = who(&|action, _| action == "kms:Decrypt");
    assert_eq!(opens, ["accounts", "data", "indexer", "integrations", "sources", "worker"]);
}

#[test]
fn each_table_index_and_queue_in_a_role_is_there() {
    let tables: BTreeMap<_, _> = tables::ALL.iter().map(|table| (table.name, *table)).collect();
    for template in roles() {
        for line in template.text.lines() {
            if let Some((_, name)) = line.split_once("table/listbackup-${Stage}-") {
                let (table, index) =
                    name.trim_end_matches('"').split_once("/index/").unwrap_or((name.trim_end_matches('"'), ""));
                let known = tables.get(table).unwrap_or_else(|| panic!("{}: {line}", template.path));
                assert!(index.is_empty() || known.index(index).is_some(), "{}: {line}", template.path);
            }
            if let Some((_, queue)) = line.split_once(":sqs:").and_then(|(_, rest)| rest.split_once("${Stage}-")) {
                assert!(["jobs", "jobs-dead", "data", "data-dead"].contains(&queue.trim_end_matches('"')), "{line}");
            }
        }
    }
}

#[test]
fn every_service_of_the_program_is_deployed_and_gets_its_paths() {
    let services: Value = serde_json::from_str(&fs::read_to_string("deploy/services.json").unwrap()).unwrap();
    let deployed = services.as_object().unwrap().iter();
    let all: BTreeSet<_> = Service::ALL.iter().map(|service| service.as_str()).collect();
    assert_eq!(deployed.clone().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(), all);
    let paths: Vec<(&String, Vec<&str>)> =
        deployed.map(|(name, about)| (name, about["Paths"].as_str().unwrap().split(',').collect())).collect();
    for (name, patterns) in &paths {
        assert!(patterns.len() <= 5, "a rule of a load balancer takes five patterns: {name}");
        assert!(Template::read(&format!("roles/{name}.yaml")).text.contains(&format!("listbackup-${{Stage}}-{name}")));
    }
    for route in served(&Service::ALL.into_iter().collect()) {
        let takes = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => route.path.starts_with(start),
            None => route.path == pattern,
        };
        let takers: Vec<_> =
            paths.iter().filter(|(_, patterns)| patterns.iter().any(|pattern| takes(pattern))).collect();
        let names: Vec<_> = takers.iter().map(|(name, _)| name.as_str()).collect();
        // Metrics are for who runs the process, beside it.
        let wanted = if route.path == "/metrics" { vec![] } else { vec![route.service.as_str()] };
        assert_eq!(names, wanted, "{}", route.path);
    }
}

#[test]
fn the_gateway_opens_what_needs_no_sign_in_and_nothing_else() {
    let api = Template::read("api.yaml");
    let is_open = |route: &Value| route["Properties"]["AuthorizationType"].is_null();
    let opened: BTreeSet<_> = api
        .resources("AWS::ApiGatewayV2::Route")
        .filter(|(_, route)| is_open(route))
        .map(|(_, route)| route["Properties"]["RouteKey"].as_str().unwrap().to_owned())
        .collect();
    let open =
        served(&Service::ALL.into_iter().collect()).into_iter().filter(|route| matches!(route.guard, Guard::Open));
    let mut wanted: BTreeSet<_> = open.map(|route| format!("{} {}", route.method, route.path)).collect();
    // Pages that are no routes of the table, and programs, whose access keys the gateway cannot check.
    let others = ["GET /system/docs", "GET /system/docs/{proxy+}", "ANY /programs/{proxy+}"];
    wanted.extend(others.map(str::to_owned));
    assert_eq!(opened, wanted);
    assert_eq!(api.resources("AWS::ApiGatewayV2::Authorizer").count(), 1);
}

#[test]
fn every_task_is_confined_and_has_time_to_stop() {
    let mut programs = 0;
    for template in Template::all() {
        for (name, task) in template.resources("AWS::ECS::TaskDefinition") {
            for container in task["Properties"]["ContainerDefinitions"].as_array().unwrap() {
                let container = container.get("Fn::If").map_or(container, |choice| &choice[1]);
                let at = format!("{} {name} {}", template.path, container["Name"]);
                assert_eq!(container["ReadonlyRootFilesystem"], true, "{at}");
                assert_eq!(container["Privileged"], false, "{at}");
                assert_eq!(container["LinuxParameters"]["Capabilities"]["Drop"], json!(["ALL"]), "{at}");
                assert_eq!(container["User"], "65532", "{at}");
                if container["Name"] == "listbackup" {
                    programs += 1;
                    let drain_seconds = template.value["Parameters"]["DrainSeconds"]["Default"].as_u64().unwrap();
                    assert!(drain_seconds < container["StopTimeout"].as_u64().unwrap(), "{at}");
                    assert!(!container["HealthCheck"]["Command"].is_null(), "{at}");
                }
            }
        }
    }
    assert_eq!(programs, 4);
}

#[test]
fn dashboards_show_metrics_that_there_are() {
    let code: String = tree::text_files()
        .into_iter()
        .filter(|file| ["engine/src/", "api/src/"].iter().any(|folder| file.path.starts_with(folder)))
        .map(|file| file.text)
        .collect();
    for path in ["deploy/dashboards/grafana.json", "deploy/templates/dashboard.yaml", "deploy/templates/cluster.yaml"] {
        let text = fs::read_to_string(path).unwrap();
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let mut metrics: BTreeSet<_> = words.filter(|word| word.starts_with("listbackup_")).collect();
        // The start of the names of two, in the agent's settings.
        metrics.remove("listbackup_sources_stale");
        assert!(!metrics.is_empty(), "{path}");
        for metric in metrics {
            let name = metric.trim_end_matches("_sum").trim_end_matches("_count");
            // What ends so is the start of names, in the agent's settings.
            let told = if name.ends_with('_') { format!("(\"{name}") } else { format!("(\"{name}\"") };
            assert!(code.contains(&told), "{path}: {metric}");
        }
        // Kinds of events as they stand in queries.
        let kinds = text.split(['"', '\\']).filter(|word| {
            let has_form = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            word.split_once('.').is_some_and(|(family, kind)| FAMILIES.contains(&family) && has_form(kind))
        });
        for kind in kinds {
            assert!(is_kind(kind), "{path}: {kind}");
        }
    }
}

#[test]
fn templates_and_script_are_clean() {
    let templates = Template::all();
    for template in &templates {
        assert!(template.text.len() <= TEMPLATE_BYTES_MAX, "{} is too long", template.path);
    }
    let (cfn_lint, shellcheck) = match (servers::tool("cfn-lint"), servers::tool("shellcheck")) {
        (Ok(cfn_lint), Ok(shellcheck)) => (cfn_lint, shellcheck),
        (Err(reason), _) | (_, Err(reason)) => return println!("skipped: {reason}"),
    };
    let paths = templates.iter().map(|template| format!("deploy/templates/{}", template.path));
    succeeded(&Command::new(cfn_lint).args(paths).output().unwrap());
    succeeded(&Command::new(shellcheck).arg("deploy/deploy.sh").output().unwrap());
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn wrong_words_are_refused_before_anything_is_sent() {
    for (words, told) in [
        (&["test"][..], "all or which SERVICE"),
        (&["nowhere", "all"], "there is no deploy/parameters/nowhere.json"),
        (&["Test", "all"], "lower-case"),
        (&["test", "all", "--now"], "there is no option --now"),
        (&["test", "auth", "--image"], "--image needs"),
        (&["test", "auth", "jobs"], "one service at a time"),
    ] {
        let output = Command::new("deploy/deploy.sh").args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let problem = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(problem.contains(told), "{problem}");
    }
}
