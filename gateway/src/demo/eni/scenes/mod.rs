//! What is shown, one file a scene, in their order. Each but the first finds the interface where the
//! one before has left it, and that is always the first instance.

mod failover;
mod reachable;

use super::Stage;
use crate::demo::error::Error;

/// Plays all scenes. What is wrong is in the report; an error is what keeps the rest from being
/// shown.
pub(super) fn play(stage: &mut Stage) -> Result<(), Error> {
    for scene in [reachable::play, failover::play] {
        stage.go_on()?;
        scene(stage)?;
    }
    Ok(())
}
