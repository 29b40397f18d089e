use crate::openapi::Docs;

pub(crate) fn docs() -> Docs {
    Docs::open("To the page", "`/docs` has no slash at its end.")
        .answers_status(308)
        .header("location", "Where the page is.", "../docs")
}
