use crate::openapi::Docs;

pub(crate) fn docs() -> Docs {
    Docs::open(
        "Redirect to the documentation page",
        "Redirects from `/docs/` to `/docs`, which is the address of the documentation page.",
    )
    .answers_status(308)
    .header("location", "The address of the page.", "../docs")
}
