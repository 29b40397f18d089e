#![doc = include_str!("../README.md")]

pub mod actor;
pub mod audit;
pub mod campaign;
pub mod change;
mod content;
pub mod counting;
pub mod deadline;
pub mod delivery;
pub mod diff;
pub mod error;
pub mod event;
pub mod feed;
pub mod generation;
pub mod group;
pub mod idempotency;
pub mod ids;
mod invalid;
pub mod message;
pub mod missing_field;
pub mod nearest;
mod numbering;
pub mod outlook;
pub mod page;
mod parts;
pub mod plan;
pub mod ports;
pub mod prelude;
pub mod publication;
pub mod rekeying;
pub mod review;
pub mod rules;
pub mod run;
pub mod schedule;
pub mod segment;
mod stages;
mod status;
pub mod survey;
#[cfg(feature = "system")]
pub mod system;
pub mod text;
pub mod timestamp;
mod usage;
pub mod usecases;
pub mod webhook;

pub use actor::{Actor, Person, UserName, Who};
pub use campaign::{ApprovalStages, Campaign, CampaignStatus, Template};
pub use error::{Error, Invalid, StoreError};
pub use event::Event;
pub use generation::{GenerationError, GenerationTask};
pub use group::{CustomerFile, CustomerGroup, ImportMode};
pub use ids::{AccountId, CampaignId, CustomerGroupId, MessageId, RunNumber, ScheduleId, UserId};
pub use message::{Content, Message, MessageState, ReviewStatus};
pub use plan::ReuseFrom;
pub use run::{Run, RunStatus};
pub use segment::{Segment, SegmentBy, SegmentKey};
pub use timestamp::Timestamp;
pub use usecases::{
    Decision, Engine, EngineBuilder, LaunchRequest, NewCampaign, PageQuery, RerunRequest,
    ReviewedMessages, Settings,
};
