//! One action or several, as one change of the document.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Draft, Known, Refusal, find};

/// An action and its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its name, `CreateNetworkInterface`.
    pub action: String,
    /// Its parameters. Left out: none.
    #[serde(default)]
    pub parameters: Value,
}

impl Request {
    /// A request for an action.
    ///
    /// # Errors
    ///
    /// A parameter cannot be written as JSON.
    pub fn of<A: Action>(action: &A) -> Result<Self, serde_json::Error> {
        let parameters = serde_json::to_value(action)?;
        Ok(Self { action: A::NAME.to_owned(), parameters })
    }
}

/// Carries out actions one after the other and says what each answers. Each sees what those before
/// it have made.
///
/// # Errors
///
/// One of them is refused. The draft is of no more use then.
pub fn perform(draft: &mut Draft, requests: Vec<Request>) -> Result<Vec<Value>, Refusal> {
    let is_one = requests.len() == 1;
    let mut answers = Vec::with_capacity(requests.len());
    for (position, Request { action, parameters }) in requests.into_iter().enumerate() {
        let answer = find(&action).and_then(|known| match known {
            Known::Query(answer) => answer(parameters, &draft.view()),
            Known::Change(apply) => apply(parameters, draft),
        });
        let which = |Refusal { code, message }| {
            let place = if is_one { String::new() } else { format!("actions[{position}]: ") };
            Refusal { code, message: format!("{place}{message}") }
        };
        answers.push(answer.map_err(which)?);
    }
    Ok(answers)
}
