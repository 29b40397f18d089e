use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::codes::Code;
use crate::openapi::Docs;

/// What the page is made of.
pub const FILES: [&str; 6] = [
    "swagger-ui.css",
    "index.css",
    "favicon-32x32.png",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
];

pub(crate) fn docs() -> Docs {
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(FILES));
    let file = ParameterBuilder::new()
        .name("file")
        .parameter_in(ParameterIn::Path)
        .required(utoipa::openapi::Required::True)
        .description(Some("The name of the file."))
        .schema(Some(name))
        .example(Some("swagger-ui.css".into()));
    let text = || ObjectBuilder::new().schema_type(Type::String);
    Docs::open(
        "Get a file of the documentation page",
        "Returns a style sheet, the icon or a script of Swagger UI.",
    )
    .parameter(file)
    .answers_text("text/css", text(), "body { margin: 0 }")
    .answers_text("text/javascript", text(), "window.ui = {};")
    .answers_bytes("image/png")
    .page_headers()
    .refuses(&[Code::NotFound])
}
