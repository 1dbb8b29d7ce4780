//! The contract of the gate, over HTTP.

mod admin;
mod autotune;
mod certificate;
mod command;
mod doors;
mod draw;
mod forward;
mod identity;
mod line;
mod moving;
mod opening;
mod operators;
mod own_page;
mod page;
mod rooms;
mod rotate;
mod settings;
mod shadow;
mod stop;
mod stream;
mod upstream;
