#![doc = include_str!("../README.md")]

use std::io::Write as _;
use std::sync::LazyLock;

use actix_web::http::header::{self, EntityTag, Header as _, HeaderValue, IfNoneMatch};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// Nothing but what this server itself sends. Scripts and styles are files: none stands in the page,
/// and no text becomes HTML.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The page around a text that is shown as HTML, and its policy, which the text inherits: it has
/// styles and images of its own, and reaches nothing.
const FRAME: &str = "frame.html";
const FRAME_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// A file of the page.
struct File {
    name: &'static str,
    content_type: &'static str,
    plain: Bytes,
    /// Without the quotes.
    tag: String,
    gzip: Bytes,
}

impl File {
    fn new(name: &'static str, content_type: &'static str, text: &'static str) -> Self {
        let plain = if content_type == SCRIPT {
            Bytes::from(without_comments(text))
        } else {
            Bytes::from_static(text.as_bytes())
        };
        let hash = Sha256::digest(&plain);
        Self {
            name,
            content_type,
            tag: hex::encode(hash.get(..16).unwrap_or_default()),
            // Writing to memory does not fail; without it the file is sent as it is.
            gzip: gzip(&plain).unwrap_or_default(),
            plain,
        }
    }
}

/// A script without its lines of comments, which are for readers of the source. The other lines keep
/// their numbers.
fn without_comments(script: &str) -> String {
    let is_comment = |line: &str| {
        let line = line.trim();
        line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"))
    };
    let lines = script.split('\n');
    let kept: Vec<&str> = lines
        .map(|line| if is_comment(line) { "" } else { line })
        .collect();
    kept.join("\n")
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

macro_rules! files {
    ($($name:literal = $file:literal, $content_type:expr;)+) => {
        static FILES: LazyLock<Vec<File>> = LazyLock::new(|| vec![
            $(File::new($name, $content_type, include_str!(concat!("../assets/", $file)))),+
        ]);
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

files! {
    "" = "index.html", HTML;
    "style.css" = "style.css", STYLE;
    "icon.svg" = "icon.svg", "image/svg+xml";
    "api.js" = "api.js", SCRIPT;
    "app.js" = "app.js", SCRIPT;
    "campaigns.js" = "campaigns.js", SCRIPT;
    "diff.js" = "diff.js", SCRIPT;
    "events.js" = "events.js", SCRIPT;
    "frame.html" = "frame.html", HTML;
    "hold.js" = "hold.js", SCRIPT;
    "htm.js" = "htm.js", SCRIPT;
    "preact-hooks.js" = "preact-hooks.js", SCRIPT;
    "preact.js" = "preact.js", SCRIPT;
    "reruns.js" = "reruns.js", SCRIPT;
    "review.js" = "review.js", SCRIPT;
    "ui.js" = "ui.js", SCRIPT;
}

/// Returns the response for the file with this name, or `None` if the console has no such file. The
/// name of the page itself is empty.
#[must_use]
pub fn respond(name: &str, request: &HttpRequest) -> Option<HttpResponse> {
    let file = FILES.iter().find(|file| file.name == name)?;
    let packed = !file.gzip.is_empty() && takes_gzip(request);
    let tag = if packed {
        format!("{}-gzip", file.tag)
    } else {
        file.tag.clone()
    };
    let tag = EntityTag::new_strong(tag);
    if is_known(request, &tag) {
        return Some(headed(HttpResponse::NotModified(), file, tag).finish());
    }
    let mut response = headed(HttpResponse::Ok(), file, tag);
    response.insert_header((header::CONTENT_TYPE, file.content_type));
    Some(if packed {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
        response.body(file.gzip.clone())
    } else {
        response.body(file.plain.clone())
    })
}

fn headed(mut response: HttpResponseBuilder, file: &File, tag: EntityTag) -> HttpResponseBuilder {
    let (policy, framed) = if file.name == FRAME {
        (FRAME_POLICY, "SAMEORIGIN")
    } else {
        (CONTENT_SECURITY_POLICY, "DENY")
    };
    response
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_FRAME_OPTIONS, framed))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        // Another version of the server has other files under the same names.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::VARY, "accept-encoding"))
        .insert_header(header::ETag(tag));
    response
}

fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Err(_) => false,
    }
}

/// Whether the client names gzip, and not with the weight 0.
fn takes_gzip(request: &HttpRequest) -> bool {
    let lines = request.headers().get_all(header::ACCEPT_ENCODING);
    let texts = lines.filter_map(|line: &HeaderValue| line.to_str().ok());
    texts.flat_map(|line| line.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = |part: &str| {
            let weight = part
                .strip_prefix("q=")
                .and_then(|weight| weight.trim().parse().ok());
            weight.is_some_and(|weight: f32| weight <= 0.0)
        };
        named && !parts.any(refused)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Read as _;
    use std::path::Path;

    use actix_web::body::MessageBody as _;
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;
    use flate2::read::GzDecoder;

    use super::*;

    /// The most that the whole page may be, packed.
    const MOST_BYTES: usize = 60_000;

    fn get(name: &str, headers: &[(&'static str, &str)]) -> HttpResponse {
        let add =
            |request: TestRequest, header: &(&'static str, &str)| request.append_header(*header);
        let request = headers.iter().fold(TestRequest::get(), add);
        respond(name, &request.to_http_request()).unwrap()
    }

    fn text<'a>(response: &'a HttpResponse, name: &str) -> &'a str {
        response
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn assets() -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn every_asset_is_served() {
        let mut served: BTreeSet<String> = FILES.iter().map(|file| file.name.to_owned()).collect();
        served.remove("");
        served.extend(["index.html".to_owned(), "VENDORED.md".to_owned()]);
        assert_eq!(served, assets());
    }

    #[test]
    fn every_response_is_guarded_against_other_hosts() {
        for file in FILES.iter() {
            for response in [
                get(file.name, &[]),
                get(file.name, &[("if-none-match", "*")]),
            ] {
                let policy = text(&response, "content-security-policy");
                let framed = text(&response, "x-frame-options");
                if file.name == "frame.html" {
                    assert_eq!(policy, FRAME_POLICY);
                    assert!(!policy.contains("script-src"), "{policy}");
                    assert_eq!(framed, "SAMEORIGIN");
                } else {
                    assert!(
                        policy.starts_with("default-src 'none'; script-src 'self';"),
                        "{policy}"
                    );
                    assert!(!policy.contains("unsafe"), "{policy}");
                    assert_eq!(framed, "DENY");
                }
                assert!(!policy.contains("http"), "{policy}");
                assert_eq!(text(&response, "x-content-type-options"), "nosniff");
                assert_eq!(text(&response, "referrer-policy"), "no-referrer");
                assert_eq!(text(&response, "cache-control"), "no-cache");
            }
        }
    }

    #[test]
    fn no_file_names_another_host() {
        for file in FILES.iter() {
            let text = str::from_utf8(&file.plain).unwrap();
            for scheme in ["http://", "https://", "//# sourceMappingURL", "@import"] {
                // Names of XML's dialects are no places.
                let places = text.replace("http://www.w3.org/", "");
                assert!(!places.contains(scheme), "{} has {scheme}", file.name);
            }
        }
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        for encoding in ["identity", "gzip"] {
            let accept = ("accept-encoding", encoding);
            let first = get("style.css", &[accept]);
            assert_eq!(first.status(), StatusCode::OK);
            let tag = text(&first, "etag").to_owned();
            for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
                let again = get("style.css", &[accept, ("if-none-match", &known)]);
                assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
                assert_eq!(text(&again, "etag"), tag);
                assert!(again.into_body().try_into_bytes().unwrap().is_empty());
            }
            let other = get("style.css", &[accept, ("if-none-match", "\"x\"")]);
            assert_eq!(other.status(), StatusCode::OK);
        }
        let tags: BTreeSet<&str> = FILES.iter().map(|file| &*file.tag).collect();
        assert_eq!(tags.len(), FILES.len());
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (accept, packed) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate", false),
            ("gzip;q=0", false),
            ("gzip; q=0.0, br", false),
        ] {
            let response = get("style.css", &[("accept-encoding", accept)]);
            assert_eq!(
                text(&response, "content-encoding") == "gzip",
                packed,
                "{accept}"
            );
            assert_eq!(text(&response, "vary"), "accept-encoding");
            let body = response.into_body().try_into_bytes().unwrap();
            let mut plain = body.to_vec();
            if packed {
                plain.clear();
                GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
            }
            assert_eq!(plain, include_bytes!("../assets/style.css"));
        }
    }

    #[test]
    fn comments_of_scripts_are_not_sent() {
        let script = "// One\nlet a = 1; // Two\n  /** Three */\n  b(/x*/.y);\n/* Four";
        let sent = "\nlet a = 1; // Two\n\n  b(/x*/.y);\n/* Four";
        assert_eq!(without_comments(script), sent);
        let sent = get("app.js", &[]).into_body().try_into_bytes().unwrap();
        let source = include_str!("../assets/app.js");
        let sent = str::from_utf8(&sent).unwrap();
        assert!(sent.starts_with("\nimport"), "a comment comes first");
        assert_eq!(sent.lines().count(), source.lines().count());
    }

    #[test]
    fn the_whole_page_is_small() {
        let bytes: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    }

    #[test]
    fn every_import_is_a_file_of_the_page() {
        let names: BTreeSet<&str> = FILES.iter().map(|file| file.name).collect();
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            let text = str::from_utf8(&file.plain).unwrap();
            for part in text.split("from").skip(1) {
                let part = part.trim_start();
                let Some(quote) = part.chars().next().filter(|first| "\"'".contains(*first)) else {
                    continue;
                };
                let name = part[1..].split(quote).next().unwrap();
                let Some(name) = name.strip_prefix("./") else {
                    continue;
                };
                assert!(names.contains(name), "{} imports {name}", file.name);
            }
        }
    }
}
