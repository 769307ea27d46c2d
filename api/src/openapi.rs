//! The OpenAPI document, put together from the route table: what is served is documented, with the guard's refusals.

use listbackup_engine::model::role::Action;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ContentBuilder, Info, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, ResponseBuilder, Server,
        path::Operation,
        schema::Schema,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
        tag::Tag,
    },
};

use crate::{
    caller::Guard,
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
        paths.merge(documented(route));
        schemas.extend(route.schemas.clone());
    }
    let mut info = Info::new("ListBackup", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new(settings.public_url.as_str().trim_end_matches('/'))]))
        .tags(Some(Service::ALL.into_iter().filter(|service| settings.services.contains(service)).map(tag)))
        .paths(paths)
        .components(Some(components(schemas)))
        .build()
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

fn documented(route: &Route) -> Paths {
    let mut paths = route.paths.clone();
    for item in paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        operations.into_iter().flatten().for_each(|operation| complete(operation, route));
    }
    paths
}

/// Adds what follows from the table: tag, a unique id, the credentials and the problems that the guard may answer.
fn complete(operation: &mut Operation, route: &Route) {
    operation.tags = Some(vec![route.service.as_str().to_owned()]);
    operation.operation_id = Some(operation_id(route));
    let mut problems = vec![("503", "A store cannot be reached; try again.")];
    if operation.request_body.is_some() || operation.parameters.is_some() {
        problems.push(("422", "The input is not valid; every problem is listed."));
    }
    if route.path.contains('{') {
        problems.push(("404", "There is no such thing in this account."));
    }
    match route.guard {
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
    if !matches!(route.guard, Guard::Open) {
        operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    }
    for (status, description) in problems {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| problem(description));
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
