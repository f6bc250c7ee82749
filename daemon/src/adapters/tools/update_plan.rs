//! `update_plan`: the model tells people what it is about to do. Touches nothing.

use futures_util::future::BoxFuture;
use quire_proto::v1::{Access, Intent, PlanItem, PlanStep, PlanStepStatus, item};
use serde::Deserialize;
use serde_json::json;

use crate::{
    ports::tool::{Finished, Live, Place, Prepared, Tool},
    pure::sample::{Call, ToolInput, ToolSpec},
};

use super::{arguments, repeat};

const EXAMPLE: &str = r#"{"plan":[{"step":"...","status":"pending"}]}; the status is `pending`, `in_progress` or `completed`"#;

/// The tool.
pub(super) struct UpdatePlan;

#[derive(Deserialize)]
struct Arguments {
    #[serde(default)]
    explanation: Option<String>,
    plan: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    step: String,
    status: Status,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pending,
    InProgress,
    Completed,
}

impl Tool for UpdatePlan {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "update_plan",
            description: "Shows the user your plan for work of several steps, whole each time. \
                          Keep at most one step in progress.",
            input: ToolInput::Json(json!({
                "type": "object",
                "properties": {
                    "explanation": {"type": "string"},
                    "plan": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "step": {"type": "string"},
                                "status": {"enum": ["pending", "in_progress", "completed"]}
                            },
                            "required": ["step", "status"],
                            "additionalProperties": false
                        }
                    }
                },
                "required": ["plan"],
                "additionalProperties": false
            })),
        }
    }

    fn prepare(&self, call: Call, _place: Place) -> BoxFuture<'static, Result<Prepared, Finished>> {
        Box::pin(async move {
            let arguments: Arguments = arguments(&call, EXAMPLE)?;
            let plan = plan_item(arguments);
            Ok(Prepared {
                title: "update the plan".to_owned(),
                access: Access {
                    read_only: true,
                    ..Access::default()
                },
                intent: None,
                preview: Vec::new(),
                act: Box::new(|_live| {
                    Box::pin(async {
                        let mut finished = Finished::succeeded("Plan updated");
                        finished.items.push(item::Kind::Plan(plan));
                        finished
                    })
                }),
            })
        })
    }

    fn resume(
        &self,
        call: Call,
        _intent: Intent,
        place: Place,
        live: Live,
    ) -> BoxFuture<'static, Finished> {
        repeat(self.prepare(call, place), live)
    }
}

fn plan_item(arguments: Arguments) -> PlanItem {
    let steps = arguments.plan.into_iter().map(|step| {
        let status = match step.status {
            Status::Pending => PlanStepStatus::Pending,
            Status::InProgress => PlanStepStatus::InProgress,
            Status::Completed => PlanStepStatus::Completed,
        };
        PlanStep {
            text: step.step,
            status: status.into(),
        }
    });
    PlanItem {
        explanation: arguments.explanation.unwrap_or_default(),
        steps: steps.collect(),
    }
}
