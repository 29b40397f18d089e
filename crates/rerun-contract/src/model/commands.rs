//! Commands, and random sequences of them.

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use rerun_core::group::ImportMode;
use rerun_core::plan::ReuseFrom;

/// One command of a sequence. Numbers choose among what is there, whatever that is: the n-th
/// group, campaign or message, counted around.
#[derive(Debug, Clone)]
pub enum Command {
    /// Makes an empty group.
    CreateGroup,
    /// Imports customers, each with country and tier, into a group.
    Import {
        /// The group.
        group: u8,
        /// What becomes of what the rows do not have.
        mode: ImportMode,
        /// Customer, country and tier of each row.
        rows: Vec<(u8, u8, u8)>,
        /// Whether the last row breaks a rule.
        bad: bool,
    },
    /// Makes a draft.
    CreateCampaign {
        /// The group.
        group: u8,
        /// Which fields it is segmented by.
        fields: u8,
        /// Whether it has two stages.
        two_stages: bool,
    },
    /// Brings in a campaign that was published elsewhere.
    ImportCampaign {
        /// The group.
        group: u8,
    },
    /// Launches a campaign.
    Launch(u8),
    /// Initiates a rerun.
    Initiate {
        /// The campaign.
        campaign: u8,
        /// The new group.
        group: u8,
        /// Whether messages of any run may be reused.
        from: ReuseFrom,
    },
    /// Previews a rerun.
    Preview {
        /// The campaign.
        campaign: u8,
        /// The group.
        group: u8,
    },
    /// Leases tasks and settles them.
    Generate {
        /// The most tasks.
        tasks: u8,
        /// The tasks whose attempt fails, as bits.
        failing: u8,
    },
    /// Leases tasks and keeps them.
    Lease {
        /// The most tasks.
        tasks: u8,
    },
    /// Settles tasks that were kept, perhaps too late.
    SettleKept {
        /// Which lease.
        lease: u8,
        /// The tasks whose attempt fails, as bits.
        failing: u8,
    },
    /// Gives tasks back that were kept.
    ReleaseKept {
        /// Which lease.
        lease: u8,
    },
    /// Lets time pass.
    Wait {
        /// How long.
        seconds: u8,
    },
    /// Reviews some or all messages of a campaign.
    Review {
        /// The campaign.
        campaign: u8,
        /// The messages of every run, as bits; `None` for all that are pending.
        messages: Option<u16>,
        /// Whether they are approved.
        approve: bool,
    },
    /// Edits one message of any run.
    Edit {
        /// The campaign.
        campaign: u8,
        /// The message.
        message: u8,
    },
    /// Has messages generated again, of whatever run.
    Regenerate {
        /// The campaign.
        campaign: u8,
        /// The messages, as bits.
        messages: u16,
    },
    /// Queues what failed.
    Retry(u8),
    /// Publishes a campaign.
    Publish(u8),
    /// Takes the current run back.
    Cancel(u8),
    /// Archives a run.
    Archive {
        /// The campaign.
        campaign: u8,
        /// The run, from 0.
        run: u8,
    },
    /// Compares two runs.
    Diff {
        /// The campaign.
        campaign: u8,
        /// The earlier run, from 0.
        from: u8,
        /// The later run.
        to: u8,
    },
    /// Generates, approves and publishes.
    Finish(u8),
    /// Tries everything on a campaign from another account.
    Trespass(u8),
}

pub(super) const COUNTRIES: &[&str] = &["DE", "FR", "IT", "", "null", "a|b\"'"];
pub(super) const TIERS: &[&str] = &["gold", "", "0"];
pub(super) const FIELDS: &[&[&str]] = &[&["country"], &["tier", "country"], &["tier"]];

fn command() -> impl Strategy<Value = Command> {
    let rows = proptest::collection::vec((0..10_u8, any::<u8>(), any::<u8>()), 0..10);
    let n = any::<u8>;
    prop_oneof![
        1 => Just(Command::CreateGroup),
        4 => (n(), any::<bool>(), rows, proptest::bool::weighted(0.1)).prop_map(
            |(group, merge, rows, bad)| {
                let mode = if merge { ImportMode::Merge } else { ImportMode::Replace };
                Command::Import { group, mode, rows, bad }
            },
        ),
        1 => (n(), n(), any::<bool>()).prop_map(|(group, fields, two_stages)| {
            Command::CreateCampaign { group, fields, two_stages }
        }),
        1 => n().prop_map(|group| Command::ImportCampaign { group }),
        4 => n().prop_map(Command::Launch),
        6 => (n(), n(), proptest::sample::select(ReuseFrom::ALL)).prop_map(|(campaign, group, from)| {
            Command::Initiate { campaign, group, from }
        }),
        1 => (n(), n()).prop_map(|(campaign, group)| Command::Preview { campaign, group }),
        5 => (1..8_u8, prop_oneof![Just(0), n()])
            .prop_map(|(tasks, failing)| Command::Generate { tasks, failing }),
        2 => (1..5_u8).prop_map(|tasks| Command::Lease { tasks }),
        2 => (n(), prop_oneof![Just(0), n()])
            .prop_map(|(lease, failing)| Command::SettleKept { lease, failing }),
        1 => n().prop_map(|lease| Command::ReleaseKept { lease }),
        2 => (0..90_u8).prop_map(|seconds| Command::Wait { seconds }),
        4 => (n(), proptest::option::of(any::<u16>()), proptest::bool::weighted(0.8)).prop_map(
            |(campaign, messages, approve)| Command::Review { campaign, messages, approve }
        ),
        2 => (n(), n()).prop_map(|(campaign, message)| Command::Edit { campaign, message }),
        2 => (n(), any::<u16>())
            .prop_map(|(campaign, messages)| Command::Regenerate { campaign, messages }),
        2 => n().prop_map(Command::Retry),
        3 => n().prop_map(Command::Publish),
        2 => n().prop_map(Command::Cancel),
        1 => (n(), 0..5_u8).prop_map(|(campaign, run)| Command::Archive { campaign, run }),
        1 => (n(), 0..5_u8, 0..5_u8)
            .prop_map(|(campaign, from, to)| Command::Diff { campaign, from, to }),
        5 => n().prop_map(Command::Finish),
        1 => n().prop_map(Command::Trespass),
    ]
}

/// Sequences of up to 40 commands.
pub fn sequence() -> impl Strategy<Value = Vec<Command>> {
    proptest::collection::vec(command(), 1..40)
}
