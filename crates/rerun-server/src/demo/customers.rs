//! The demo's two audiences, made up from one seed.
//!
//! One audience is of 2025, the other of 2026. Most customers are in both, some of them a tier
//! higher in 2026. Then Denmark is gone, Austria and Portugal are new, and Poland has its first
//! gold customers. A campaign by country, tier and range of spending therefore finds most of its
//! segments again, and a few that are new.
//!
//! The file of 2026 comes from another system, as exports do: it writes `UK` for `GB`, some tiers
//! in other letter case, and amounts with commas. The rules of [`segment_by`] make these equal.
//!
//! Some rows are as untidy as those of real exports: blanks around a value, a no-break space, a
//! tier that is only blanks, names that need quotes.

use std::collections::BTreeMap;

use csv::WriterBuilder;
use fastrand::Rng;
use serde_json::{Value, json};

/// The sequence of customers depends on it alone.
const SEED: u64 = 2025;
/// One customer in this many leaves within the year.
const LEAVES: u32 = 10;
/// One customer in this many moves a tier up within the year.
const MOVES_UP: u32 = 11;
/// One row in this many is untidy.
const UNTIDY: u32 = 45;

/// What customers spend in a year is less than this, in cents.
const MOST_SPENT: u32 = 120_000;

/// From the lowest to the highest; the first means no tier.
const TIERS: [&str; 4] = ["", "bronze", "silver", "gold"];

struct Country {
    code: &'static str,
    language: &'static str,
    /// Customers in 2025.
    first: u32,
    /// Customers won in the year after.
    won: u32,
    /// How many of a hundred customers have which of [`TIERS`].
    tiers: [u32; 4],
    names: &'static [&'static str],
}

const GERMAN: &[&str] = &[
    "Anna",
    "Jörg",
    "Käthe",
    "Lukas",
    "Zoë",
    "Katharina, gen. „Kathi“",
];
static COUNTRIES: [Country; 11] = [
    country("DE", "de", 620, 100, [10, 46, 31, 13], GERMAN),
    country(
        "FR",
        "fr",
        520,
        90,
        [12, 49, 28, 11],
        &[
            "Adèle",
            "Benoît",
            "Chloé",
            "François",
            "Marie-Thérèse, dite Maïté",
        ],
    ),
    country(
        "GB",
        "en",
        450,
        80,
        [9, 45, 32, 14],
        &["Amelia", "Harry", "Priya", "Siân", "Elizabeth \"Lizzie\""],
    ),
    country(
        "IT",
        "it",
        370,
        60,
        [14, 51, 26, 9],
        &[
            "Alessandra",
            "Giulia",
            "Matteo",
            "Nicolò",
            "Salvatore, detto Totò",
        ],
    ),
    country(
        "ES",
        "es",
        350,
        65,
        [15, 50, 26, 9],
        &["Álvaro", "Begoña", "Íñigo", "Lucía", "José Ramón, «Moncho»"],
    ),
    country(
        "NL",
        "nl",
        260,
        40,
        [8, 47, 32, 13],
        &[
            "Daan",
            "Fleur",
            "Renée",
            "Sjoerd",
            "Cornelis, roepnaam \"Kees\"",
        ],
    ),
    country(
        "PL",
        "pl",
        220,
        50,
        [18, 60, 22, 0],
        &[
            "Elżbieta",
            "Łukasz",
            "Małgorzata",
            "Paweł",
            "Aleksandra \"Ola\"",
        ],
    ),
    country(
        "SE",
        "sv",
        130,
        20,
        [0, 48, 36, 16],
        &["Åke", "Björn", "Linnéa", "Märta", "Per-Åke, kallad Pelle"],
    ),
    country(
        "DK",
        "da",
        90,
        0,
        [11, 49, 28, 12],
        &[
            "Freja",
            "Lærke",
            "Mikkel",
            "Søren",
            "Kirstine, kaldet Stinne",
        ],
    ),
    country("AT", "de", 0, 100, [10, 50, 30, 10], GERMAN),
    country(
        "PT",
        "pt",
        0,
        80,
        [22, 58, 20, 0],
        &["Conceição", "Inês", "João", "Tomás", "Maria João, «Mijó»"],
    ),
];
/// Everybody here has left a year later.
const CLOSED: &str = "DK";

const fn country(
    code: &'static str,
    language: &'static str,
    first: u32,
    won: u32,
    tiers: [u32; 4],
    names: &'static [&'static str],
) -> Country {
    Country {
        code,
        language,
        first,
        won,
        tiers,
        names,
    }
}

/// How an export writes values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Export {
    Of2025,
    Of2026,
}

/// The fields that make segments, with the rules that make both exports equal.
pub(super) fn segment_by() -> Value {
    json!([
        { "field": "country", "values": { "UK": "GB" } },
        { "field": "tier", "normalise": ["casefold"] },
        { "field": "spent", "type": "number", "bins": [600],
          "labels": ["under 600", "600 and more"] },
    ])
}

impl Export {
    fn country(self, code: &str) -> &str {
        match (self, code) {
            (Self::Of2026, "GB") => "UK",
            (Self::Of2025 | Self::Of2026, code) => code,
        }
    }

    /// Some of the customers have their tier in other letter case.
    fn tier(self, number: u32, tier: &str) -> String {
        match (self, number % 7) {
            (Self::Of2026, 0) => tier.to_uppercase(),
            (Self::Of2026, 1) => {
                let (first, rest) = tier.split_at(tier.len().min(1));
                first.to_uppercase() + rest
            }
            (Self::Of2025 | Self::Of2026, _) => tier.to_owned(),
        }
    }

    fn spent(self, number: u32) -> String {
        let year = match self {
            Self::Of2025 => 0,
            Self::Of2026 => 31_337,
        };
        let cents = number.wrapping_mul(7_919).wrapping_add(year) % MOST_SPENT;
        let (euros, cents) = (cents / 100, cents % 100);
        match (self, euros / 1_000) {
            (Self::Of2026, thousands @ 1..) => {
                format!("{thousands},{:03}.{cents:02}", euros % 1_000)
            }
            (Self::Of2025 | Self::Of2026, _) => format!("{euros}.{cents:02}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Customer {
    name: &'static str,
    country: &'static Country,
    /// A place in [`TIERS`].
    tier: usize,
}

/// The audience of 2025 and the one of 2026, each as a CSV file.
///
/// # Errors
/// When a row cannot be written, which does not happen in memory.
pub(super) fn audiences() -> Result<[Vec<u8>; 2], csv::Error> {
    let mut chance = Rng::with_seed(SEED);
    let mut number = 0;
    let mut customers = BTreeMap::new();
    add(&mut customers, &mut number, &mut chance, |country| {
        country.first
    });
    let before = file(&customers, Export::Of2025, &mut chance)?;

    customers.retain(|_, customer| customer.country.code != CLOSED && !one_in(LEAVES, &mut chance));
    for customer in customers.values_mut() {
        if one_in(MOVES_UP, &mut chance) {
            customer.tier = (customer.tier + 1).min(TIERS.len() - 1);
        }
    }
    add(&mut customers, &mut number, &mut chance, |country| {
        country.won
    });
    Ok([before, file(&customers, Export::Of2026, &mut chance)?])
}

fn one_in(many: u32, chance: &mut Rng) -> bool {
    chance.u32(0..many) == 0
}

fn add(
    customers: &mut BTreeMap<u32, Customer>,
    number: &mut u32,
    chance: &mut Rng,
    count: fn(&Country) -> u32,
) {
    let mut added: Vec<&Country> = Vec::new();
    for country in &COUNTRIES {
        added.extend((0..count(country)).map(|_| country));
    }
    chance.shuffle(&mut added);
    for country in added {
        *number += chance.u32(1..4);
        let name = country.names[chance.usize(0..country.names.len())];
        let tier = tier(country, chance.u32(0..100));
        customers.insert(
            *number,
            Customer {
                name,
                country,
                tier,
            },
        );
    }
}

/// The tier of a customer who is at `percent` of all customers of the country, the lowest first.
fn tier(country: &Country, percent: u32) -> usize {
    let mut below = 0;
    let reached = country.tiers.iter().position(|share| {
        below += share;
        percent < below
    });
    reached.unwrap_or(0)
}

fn file(
    customers: &BTreeMap<u32, Customer>,
    export: Export,
    chance: &mut Rng,
) -> Result<Vec<u8>, csv::Error> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    writer.write_record([
        "customer_ref",
        "first_name",
        "country",
        "tier",
        "language",
        "spent",
    ])?;
    for (number, customer) in customers {
        let mut row = [
            format!("C-{number:06}"),
            customer.name.to_owned(),
            export.country(customer.country.code).to_owned(),
            export.tier(*number, TIERS[customer.tier]),
            customer.country.language.to_owned(),
            export.spent(*number),
        ];
        if one_in(UNTIDY, chance) {
            let place = chance.usize(1..row.len() - 1);
            row[place] = match chance.u32(0..3) {
                0 => format!(" {}", row[place]),
                1 => format!("{}  ", row[place]),
                _ => format!("{}\u{a0}", row[place]),
            };
        }
        writer.write_record(&row)?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rerun_core::counting::Counting;
    use rerun_core::segment::{SegmentBy, SegmentKey};

    use super::*;

    fn segments(file: &[u8], segment_by: &SegmentBy) -> (usize, BTreeSet<SegmentKey>) {
        let mut reader = csv::Reader::from_reader(file);
        let names = reader.headers().unwrap().clone();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let mut counting = Counting::new(segment_by, 10_000);
        for row in &rows {
            let values = segment_by.sorted().into_iter().map(|field| {
                let place = names.iter().position(|name| name == field).unwrap();
                Some(row[place].trim()).filter(|value| !value.is_empty())
            });
            counting.add(values, 1);
        }
        let segments = counting.finish().segments.into_iter();
        (rows.len(), segments.map(|segment| segment.key).collect())
    }

    /// How many segments 2025 has, how many of them are there a year later, and how many are new.
    fn a_year_later(segment_by: &Value) -> [usize; 3] {
        let segment_by: Vec<_> = serde_json::from_value(segment_by.clone()).unwrap();
        let segment_by = SegmentBy::declare(segment_by).unwrap();
        let [before, after] = audiences().unwrap();
        let (customers, before) = segments(&before, &segment_by);
        assert_eq!(customers, 3_010);
        let (_, after) = segments(&after, &segment_by);
        let matched = after.intersection(&before).count();
        [before.len(), matched, after.difference(&before).count()]
    }

    #[test]
    fn a_year_later_most_segments_are_still_there_and_some_are_new() {
        assert_eq!(a_year_later(&segment_by()), [68, 60, 15]);
    }

    #[test]
    fn without_rules_nearly_every_segment_is_new() {
        let [_, matched, new] = a_year_later(&json!(["country", "tier", "spent"]));
        assert!(matched < 100 && new > 3_000, "{matched} matched, {new} new");
    }

    #[test]
    fn the_files_are_the_same_every_time() {
        assert_eq!(audiences().unwrap(), audiences().unwrap());
    }
}
