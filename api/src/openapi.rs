//! The OpenAPI document, put together from the route table: what is served is documented, with the guard's refusals.

use listbackup_engine::model::role::Action;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, Header, Info, ObjectBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, Required,
        ResponseBuilder, Server,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{Schema, SchemaType, Type},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
        tag::Tag,
    },
};

use crate::{
    caller::Guard,
    closed::close_requests,
    problem::{FieldProblem, MEDIA_TYPE, ProblemDocument},
    routes::Route,
    state::{ApiSettings, Service},
};

const BEARER: &str = "bearer";

/// The document of these routes.
pub fn document(routes: &[Route], settings: &ApiSettings) -> OpenApi {
    let mut paths = Paths::new();
    let mut schemas = vec![
        (ProblemDocument::name().into_owned(), ProblemDocument::schema()),
        (FieldProblem::name().into_owned(), FieldProblem::schema()),
    ];
    for route in routes {
        paths.merge(documented(route, settings));
        schemas.extend(route.schemas.clone());
    }
    let mut info = Info::new("ListBackup", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    let mut document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new(settings.public_url.as_str().trim_end_matches('/'))]))
        .tags(Some(Service::ALL.into_iter().filter(|service| settings.services.contains(service)).map(tag)))
        .paths(paths)
        .components(Some(components(schemas)))
        .build();
    close_requests(&mut document);
    document
}

const ABOUT: &str = "Backs up what a business holds in SaaS products. Errors are problem documents (RFC 9457) with a \
    stable `code`. Lists page by `cursor`. Requests that make something take `Idempotency-Key`; changes take `If-Match` \
    with the `ETag` of the last answer. Another account's id is 404.";

fn tag(service: Service) -> Tag {
    Tag::new(service.as_str())
}

fn components(schemas: Vec<(String, RefOr<Schema>)>) -> Components {
    let mut components = Components::new();
    components.schemas.extend(schemas);
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some(
        "An access token from `POST /auth/login`, or an access key (`lbk_…`). Where people are in a user pool, a request with a token \
         also names the account that the person works in, as the sign-in told it: `ListBackup-Account: acc_…`."
            .to_owned(),
    );
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    components
}

fn documented(route: &Route, settings: &ApiSettings) -> Paths {
    let mut paths = route.paths.clone();
    for item in paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(|operation| complete(operation, route, settings));
    }
    paths
}

/// Adds what follows from the table and the input: tag, a unique id, the credentials, the headers that all of a kind take, and the
/// problems that guard and input may be answered with.
fn complete(operation: &mut Operation, route: &Route, settings: &ApiSettings) {
    operation.tags = Some(vec![route.service.as_str().to_owned()]);
    operation.operation_id = Some(operation_id(route));
    if operation.responses.responses.contains_key("412") {
        operation.parameters.get_or_insert_default().push(if_match().into());
    }
    let mut problems = vec![("503", "A store cannot be reached; try again.")];
    problems.extend(of_input(operation));
    if route.path.contains('{') {
        problems.push(("404", "There is no such thing in this account."));
    }
    problems.extend(of_guard(route.guard));
    if needs_credentials(route.guard, settings) {
        operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    }
    for (status, description) in problems {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| problem(description));
    }
    tell_when_to_come_back(operation);
}

/// Of an operator without a token the address counts, and nothing that a caller sends.
fn needs_credentials(guard: Guard, settings: &ApiSettings) -> bool {
    match guard {
        Guard::Open => false,
        Guard::Operator => settings.metrics_token.is_some(),
        Guard::Member | Guard::Person | Guard::May(_) | Guard::PersonMay(_) => true,
    }
}

/// Which change the caller's change is based on. Every operation that may answer 412 takes it.
fn if_match() -> Parameter {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some("^[ -~]*$"));
    let about = "The `ETag` that the change is based on; without it, whatever is there is changed.";
    let header = ParameterBuilder::new().name("If-Match").parameter_in(ParameterIn::Header);
    header.required(Required::False).description(Some(about)).schema(Some(text)).build()
}

/// The problems of what a request brings: body, query string, headers, ids.
fn of_input(operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let mut problems = Vec::new();
    if operation.request_body.is_some() {
        problems.extend([
            ("400", "The body is not JSON, nests too deeply or did not arrive whole, or a header is malformed."),
            ("413", "The body is too large."),
            ("415", "The body is not said to be JSON."),
        ]);
    }
    let places = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(&parameter.parameter_in),
        RefOr::Ref(_) => None,
    });
    for place in places {
        match place {
            ParameterIn::Header => problems.push(("400", "A header is malformed.")),
            ParameterIn::Query => problems.push(("414", "The query string is too long.")),
            _ => {}
        }
    }
    if operation.request_body.is_some() || operation.parameters.is_some() {
        problems.push(("422", "The input is not valid; every problem is listed."));
    }
    problems
}

fn of_guard(guard: Guard) -> Vec<(&'static str, &'static str)> {
    let mut problems = Vec::new();
    match guard {
        Guard::Open | Guard::Operator => {}
        Guard::Member => problems.push(("401", "No credentials, or not good any more.")),
        Guard::Person => {
            problems.push(("401", "No credentials, or not good any more."));
            problems.push(("403", "An access key may not do this."));
        }
        Guard::May(action) | Guard::PersonMay(action) => {
            problems.push(("401", "No credentials, or not good any more."));
            problems.push(("403", refused(action)));
        }
    }
    problems
}

fn tell_when_to_come_back(operation: &mut Operation) {
    let limited = operation.responses.responses.get_mut("429");
    if let Some(RefOr::T(answer)) = limited {
        let mut seconds =
            Header::new(ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).minimum(Some(1)));
        seconds.description = Some("Come back after so many seconds.".to_owned());
        answer.headers.insert("Retry-After".to_owned(), seconds.into());
    }
}

/// Verb and path as one word: `get_jobs_by_id`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '-', '.']).filter(|word| !word.is_empty()).map(|word| {
        let name = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
        name.map_or_else(|| word.to_owned(), |name| format!("by_{name}"))
    });
    [route.method.as_str().to_lowercase()].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn refused(action: Action) -> &'static str {
    match action {
        Action::Read => "The caller's role does not allow reading.",
        Action::Operate => "The caller must be an operator, admin or owner.",
        Action::Administer => "The caller must be an admin or owner.",
        Action::Bill => "The caller must be an owner, admin or in the billing role.",
        Action::Own => "The caller must be an owner.",
    }
}

fn problem(description: &str) -> RefOr<utoipa::openapi::Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ProblemDocument::name()))).build();
    ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build().into()
}
