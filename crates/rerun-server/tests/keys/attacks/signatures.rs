//! Signatures that are not the issuer's, and tokens of other shapes.

use aws_lc_rs::digest;
use serde_json::json;

use super::{Tokens, World};
use crate::kit::{Signer, USER, b64, claims, unb64, with};

/// Signatures that are none, or another message's.
pub(super) fn signatures(world: &World, cases: &mut Tokens) {
    let good = world.good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, payload) = message.split_once('.').unwrap();
    let bytes = unb64(signature);
    let signed = |bytes: &[u8]| format!("{message}.{}", b64(bytes));
    let mut push = |what: &str, token: String| cases.push((format!("signature {what}"), token));

    push("stripped", format!("{message}."));
    push("stripped with its dot", message.to_owned());
    push("one character short", good[..good.len() - 1].to_owned());
    push(
        "half",
        format!("{message}.{}", &signature[..signature.len() / 2]),
    );
    push("one byte short", signed(&bytes[..bytes.len() - 1]));
    push("without its first byte", signed(&bytes[1..]));
    push("one byte long", signed(&[&bytes[..], &[0]].concat()));
    push("with a zero in front", signed(&[&[0], &bytes[..]].concat()));
    push("twice", signed(&[&bytes[..], &bytes[..]].concat()));
    push("padded", format!("{good}="));
    push("padded more", format!("{good}=="));
    push("in hexadecimal", {
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{message}.{}", digits.concat())
    });
    push("of bytes that base64url has not", format!("{good}+"));
    push("with a slash", format!("{message}./{}", &signature[1..]));
    push(
        "with a percent sign",
        format!("{message}.%2D{}", &signature[1..]),
    );
    push("in other case", {
        let swap = |c: char| {
            if c.is_lowercase() {
                c.to_ascii_uppercase()
            } else {
                c.to_ascii_lowercase()
            }
        };
        format!(
            "{message}.{}",
            signature.chars().map(swap).collect::<String>()
        )
    });
    // The bits of the last character that belong to no byte.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(&signature[signature.len() - 1..]).unwrap();
    push("with unused bits set", {
        let other = char::from(alphabet.as_bytes()[last | 1]);
        format!("{}{other}", &good[..good.len() - 1])
    });
    for index in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        push(
            &format!("with bit flipped in byte {index}"),
            signed(&changed),
        );
    }
    for (what, byte) in [("zeros", 0), ("ones", 0xff)] {
        push(&format!("of {what}"), signed(&vec![byte; bytes.len()]));
    }
    push(
        "of the message's hash",
        signed(digest::digest(&digest::SHA256, message.as_bytes()).as_ref()),
    );
    push(
        "of another's key",
        world
            .attacker
            .token(&world.header().to_string(), claims().to_string()),
    );

    let other = with(&claims(), &[("account_id", json!(USER))]);
    let elsewhere = world.token(&world.header(), &other);
    let (_, foreign) = elsewhere.rsplit_once('.').unwrap();
    push("of other claims", format!("{message}.{foreign}"));
    push(
        "under changed claims",
        format!("{head}.{}.{signature}", b64(other.to_string())),
    );
    let more = with(&world.header(), &[("cty", json!("JWT"))]);
    push(
        "under a changed header",
        format!("{}.{payload}.{signature}", b64(more.to_string())),
    );
    push(
        "of the claims alone",
        format!("{message}.{}", b64(world.signer.sign(payload.as_bytes()))),
    );

    match &world.signer {
        Signer::Secret(_) => {}
        Signer::Rsa(_) => {
            let mut one = vec![0; bytes.len()];
            one[bytes.len() - 1] = 1;
            push("that is 1", signed(&one));
        }
        Signer::Ec(_) => {
            let (r, s) = bytes.split_at(32);
            push("with r and s swapped", signed(&[s, r].concat()));
            push("with r zero", signed(&[&[0; 32], s].concat()));
            push("with s zero", signed(&[r, &[0; 32]].concat()));
            let order: [u8; 32] = unb64("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE")
                .try_into()
                .unwrap();
            push("with r and s the order", signed(&[order, order].concat()));
            push(
                "as DER",
                signed(&[&[0x30, 0x44, 2, 0x20][..], r, &[2, 0x20], s].concat()),
            );
        }
        Signer::Ed(_) => {
            let mut beyond = bytes.clone();
            add_order_of_25519(&mut beyond[32..]);
            push("with S beyond the order", signed(&beyond));
            for (what, encoded) in [("neutral", 1), ("of order four", 0)] {
                let mut small = [0; 64];
                small[0] = encoded;
                push(&format!("with R {what} and S zero"), signed(&small));
                let mut kept = bytes.clone();
                kept[..32].copy_from_slice(&small[..32]);
                push(&format!("with R {what}"), signed(&kept));
            }
        }
    }
}

/// Adds the order of the group to a number in little endian: the same number to it, and another
/// signature for who does not look.
fn add_order_of_25519(number: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, more) in number.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
}

/// Tokens of other shapes.
pub(super) fn shapes(world: &World, cases: &mut Tokens) {
    let good = world.good();
    let parts: Vec<&str> = good.split('.').collect();
    let (head, payload, signature) = (parts[0], parts[1], parts[2]);
    for (what, token) in [
        ("empty", String::new()),
        ("a word", "null".into()),
        ("a dot", ".".into()),
        ("two dots", "..".into()),
        ("three dots", "...".into()),
        ("one part", head.into()),
        ("four parts", format!("{good}.{signature}")),
        (
            "five parts, as a JWE",
            format!("{head}.{payload}.{signature}.{payload}.{signature}"),
        ),
        ("a dot in front", format!(".{good}")),
        ("a dot at the end", format!("{good}.")),
        ("no header", format!(".{payload}.{signature}")),
        ("no claims", format!("{head}..{signature}")),
        (
            "parts in another order",
            format!("{payload}.{head}.{signature}"),
        ),
        ("other separators", good.replace('.', ":")),
        ("escaped dots", good.replace('.', "%2E")),
        ("quoted", format!("\"{good}\"")),
        ("in brackets", format!("<{good}>")),
        ("in braces", format!("{{{good}}}")),
        ("encoded once more", b64(&good)),
        (
            "the JSON of a JWS",
            json!({ "payload": payload, "protected": head, "signature": signature }).to_string(),
        ),
        ("a parameter after it", format!("{good};x=1")),
        ("a scheme in it", format!("Bearer{good}")),
        ("padded parts", format!("{head}=.{payload}=.{signature}=")),
        ("20 kilobytes", "a".repeat(20_000)),
        ("20,000 dots", ".".repeat(20_000)),
        ("60 kilobytes of claims", {
            let long = with(&claims(), &[("role_code", json!("A".repeat(45_000)))]);
            world
                .attacker
                .token(&world.header().to_string(), long.to_string())
        }),
    ] {
        cases.push((format!("token {what}"), token));
    }
}
