//! Sandboxes, shims and their consoles on the real kernel. Every test runs as an unprivileged user: started by root it
//! executes itself again as one.

mod console;
mod death;
mod escapes;
mod isolation;
mod layers;
mod refusals;
mod support;
mod versions;
