//! System calls behind safe functions: the only module that may hold `unsafe`.
//!
//! Used by [`crate::host`]. It knows nothing of servers, layers or shims: it takes descriptors, names and numbers.
#![allow(unsafe_code)]

pub mod cgroup;
pub mod diag;
pub mod fs;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod pty;
pub mod seccomp;
