use rerun_core::text::is_control;
use rerun_generate::fuzzing::{Answer, answer};
use serde_json::json;

const SECRET: &str = "sk-hunter2-0123456789";

fn completion(content: &str) -> Vec<u8> {
    let message = json!({ "role": "assistant", "content": content });
    json!({ "choices": [{ "message": message }] })
        .to_string()
        .into_bytes()
}

/// A response of a language model's endpoint.
///
/// # Panics
/// When a promise is broken.
pub fn answers(body: &[u8]) {
    let Answer {
        content,
        model,
        reported,
    } = answer(body, SECRET);
    assert!(reported.chars().count() <= 301, "{reported}");
    assert!(!reported.contains(is_control), "{reported:?}");
    assert!(!reported.contains(SECRET), "{reported}");
    if let Some(model) = model {
        assert!(model.chars().count() <= 200 && !model.contains(char::is_control));
    }
    let Ok((subject, message)) = content else {
        return;
    };
    // Tags of thoughts in a message's own texts may be taken for such, with prose around them.
    if subject.contains("think>") || message.contains("think>") {
        return;
    }
    // Whatever a model writes around it, a message is read as the same.
    let plain = json!({ "subject": subject, "body": message }).to_string();
    for around in [
        plain.clone(),
        format!("\u{feff}{plain}\n"),
        format!("```json\n{plain}\n```"),
        format!("Here it is:\n{plain}\nDo you like it?"),
        format!("<think>{plain}</think>\n```\n{plain}```"),
    ] {
        let again = answer(&completion(&around), SECRET).content;
        assert_eq!(again, Ok((subject.clone(), message.clone())), "{around}");
    }
    let twice = format!("{plain} {plain}");
    assert!(answer(&completion(&twice), SECRET).content.is_err());
}
