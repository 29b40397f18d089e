//! What most programs need: `use rerun_core::prelude::*;`.

pub use crate::ports::{
    Backoff, Clock, HealthCheck, IdGenerator, MessageGenerator, Pause, Store, TemplateChecker,
};
pub use crate::{
    AccountId, Actor, Campaign, CampaignId, CampaignStatus, Content, CustomerFile, CustomerGroup,
    CustomerGroupId, Decision, Engine, ImportMode, Invalid, LaunchRequest, Message, MessageId,
    NewCampaign, PageQuery, Person, RerunRequest, ReuseFrom, ReviewedMessages, Run, RunNumber,
    RunStatus, Segment, Settings, Template, UserId, UserName,
};
