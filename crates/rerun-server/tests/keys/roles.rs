//! Which roles may do what.

use rerun_wire::ENDPOINTS;
use serde_json::json;

use crate::kit::{Signer, claims, header, random, with};
use crate::server::{Answer, Request, Server};

struct World {
    server: Server,
    signer: Signer,
    _folder: tempfile::TempDir,
}

impl World {
    /// A server with these rules: the text of the setting, or of a TOML file.
    fn new(rules: Option<&str>, toml: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = random(32);
        let text = String::from_utf8(secret.clone()).unwrap();
        let mut settings = vec![("RERUN_JWT_SECRET", text.as_str())];
        settings.extend(rules.map(|rules| ("RERUN_ROLES", rules)));
        if let Some(toml) = toml {
            std::fs::write(folder.path().join("rerun.toml"), toml).unwrap();
            settings.push(("RERUN_CONFIG", "rerun.toml"));
        }
        Self {
            server: Server::start(folder.path(), &settings),
            signer: Signer::Secret(secret),
            _folder: folder,
        }
    }

    /// A request whose content type is wrong: what comes before that is the answer.
    fn request(&self, role: &str, path: &str) -> Request {
        let claims = with(&claims(), &[("role_code", json!(role))]);
        let header = header("HS256", None).to_string();
        let mut request = Request::new(&self.signer.token(&header, claims.to_string()));
        path.clone_into(&mut request.path);
        request.content_type = "text/plain";
        request
    }

    fn ask(&self, role: &str, path: &str) -> Answer {
        self.server.send(&self.request(role, path))
    }
}

fn actions() -> impl Iterator<Item = (String, &'static str)> {
    ENDPOINTS
        .iter()
        .filter_map(|endpoint| Some((endpoint.action()?, endpoint.path)))
}

#[test]
fn without_rules_every_role_may_do_everything() {
    let world = World::new(None, None);
    for (action, path) in actions() {
        for role in ["ADMIN", "anybody"] {
            assert_eq!(world.ask(role, path), Answer::MediaType, "{action}");
        }
    }
}

#[test]
fn every_action_can_be_left_to_a_role() {
    let rules: Vec<String> = actions()
        .map(|(action, _)| format!("{action}=ADMIN,OWNER"))
        .collect();
    let world = World::new(Some(&rules.join(";")), None);
    for (action, path) in actions() {
        for role in ["ADMIN", "OWNER"] {
            assert_eq!(world.ask(role, path), Answer::MediaType, "{action} {role}");
        }
        for role in ["VIEWER", "admin", "ADMIN ", "ADMIN,OWNER", "*"] {
            assert_eq!(
                world.ask(role, path),
                Answer::Unauthorized,
                "{action} {role}"
            );
        }
    }
}

#[test]
fn a_rule_is_for_its_action_alone() {
    let world = World::new(
        None,
        Some("[roles]\ninitiate = [\"ADMIN\", \"CAMPAIGN LEAD\"]\n"),
    );
    for (action, path) in actions() {
        // A schedule initiates, so who makes or triggers one must be allowed to.
        let expected = match action.as_str() {
            "initiate" | "schedule_create" | "schedule_trigger" => Answer::Unauthorized,
            _ => Answer::MediaType,
        };
        assert_eq!(world.ask("VIEWER", path), expected, "{action}");
        assert_eq!(
            world.ask("CAMPAIGN LEAD", path),
            Answer::MediaType,
            "{action}"
        );
    }
}

#[test]
fn a_path_written_otherwise_does_not_get_around_a_rule() {
    let world = World::new(Some("initiate=ADMIN"), None);
    for path in [
        "/v1/campaign/rerun/initiate",
        "/v1/campaign/rerun/initiate?x=/v1/campaign/list",
        "/v1/campaign/rerun/%69nitiate",
        "/v1/campaign/rerun%2Finitiate",
        "/v1/campaign/rerun/initiate/",
        "/v1//campaign/rerun/initiate",
        "/v1/campaign/./rerun/initiate",
        "/v1/campaign/list/../rerun/initiate",
        "/V1/campaign/rerun/initiate",
        "http://server/v1/campaign/rerun/initiate",
    ] {
        let answer = world.ask("VIEWER", path);
        let nothing = matches!(&answer, Answer::Other(text) if text.starts_with("HTTP/1.1 404"));
        assert!(
            answer == Answer::Unauthorized || nothing,
            "{path}: {answer:?}"
        );
    }
    assert_eq!(
        world.ask("VIEWER", "/v1/campaign/rerun/initiate"),
        Answer::Unauthorized
    );
}

/// After token, API code and address, before the content type.
#[test]
fn the_role_has_its_place_in_the_order() {
    let world = World::new(Some("initiate=ADMIN"), None);
    let wrong = world.request("VIEWER", "/v1/campaign/rerun/initiate");
    assert_eq!(world.server.send(&wrong), Answer::Unauthorized);
    let mut request = wrong.clone();
    request.authorization = vec![b"Bearer x".to_vec()];
    assert_eq!(world.server.send(&request), Answer::AuthError);
    let mut request = wrong;
    request.ip.clear();
    assert_eq!(world.server.send(&request), Answer::Unauthorized);
    let log = world.server.end();
    assert_eq!(log.matches("the role may not do this").count(), 1, "{log}");
    assert!(log.contains("no single `x-ip`"), "{log}");
}
