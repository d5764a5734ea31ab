// SPDX-License-Identifier: GPL-2.0-only
//! `series`: the patches themselves. [`check`] judges them as a reviewer and
//! the build robots of the lists would, [`export`] makes mails of them,
//! [`refresh`] takes changed commits back, [`apply`] puts them on a tree.

pub mod apply;
pub mod check;
pub mod commits;
mod compile;
pub mod concern;
pub mod configured;
pub mod costs;
pub mod cover;
pub mod export;
pub mod finding;
pub mod headers;
mod linked;
pub mod mail;
pub mod messages;
pub mod only;
mod programs;
pub mod refresh;
pub mod shallow;
pub mod strip;
pub mod style;
pub mod symbols;
pub mod table;
pub mod variants;
pub mod whole;

pub use apply::apply;
pub use check::check;
pub use export::export;
pub use refresh::refresh;
