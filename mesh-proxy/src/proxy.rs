//! The proxy put together: workers, control and admin.

mod plane;

pub(crate) use plane::DataPlane;

#[cfg(test)]
mod tests;
