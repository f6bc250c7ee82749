//! The models that can be asked.

use quire_proto::v1::{DaemonServiceListModelsRequest, Model};
use serde::Serialize;

use super::Done;
use crate::{
    context::{self, Context},
    output::table::table,
    world,
};

/// List the models that the configuration and the catalogue offer.
///
/// The default one is marked with `*`. Nothing is sent to any provider.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quire models
  quire models --json | jq .")]
pub struct Arguments {
    /// JSON lines.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    default: bool,
    usable: bool,
    reason: &'a str,
    context_window: u64,
    input_price: f64,
    cached_price: f64,
    output_price: f64,
}

/// Carries it out.
///
/// # Errors
///
/// When the configuration is wrong.
pub async fn run(arguments: Arguments, context: &Context) -> Done {
    let mut link = context.connect("models").await?;
    let world = Some(world::here(None)?);
    let request = DaemonServiceListModelsRequest { world };
    let listed = link
        .call(async |connection| connection.daemon().list_models(request.clone()).await)
        .await?
        .into_inner();
    let text = if arguments.json {
        json(&listed.models, &listed.default_model)
    } else {
        rows(&listed.models, &listed.default_model)
    };
    context::print(text)
}

fn json(models: &[Model], default: &str) -> String {
    let lines = models.iter().map(|model| Line {
        name: &model.name,
        default: model.name == default,
        usable: model.usable,
        reason: &model.reason,
        context_window: model.context_window,
        input_price: model.input_price,
        cached_price: model.cached_price,
        output_price: model.output_price,
    });
    super::json_lines(lines)
}

fn rows(models: &[Model], default: &str) -> String {
    let header = ["", "MODEL", "WINDOW", "IN", "OUT", ""].map(str::to_owned);
    let price = |dollars: f64| match dollars {
        0.0 => String::from("-"),
        dollars => format!("${dollars:.2}"),
    };
    let rows = models.iter().map(|model| {
        [
            if model.name == default { "*" } else { "" }.to_owned(),
            model.name.clone(),
            match model.context_window {
                0 => String::from("-"),
                tokens => format!("{}k", tokens / 1_000),
            },
            price(model.input_price),
            price(model.output_price),
            match model.usable {
                true => String::new(),
                false => format!("not usable: {}", model.reason),
            },
        ]
    });
    table([header].into_iter().chain(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_marked_and_what_is_missing_is_said() {
        let models = [
            Model {
                name: "openai/gpt-5.2".into(),
                context_window: 400_000,
                input_price: 1.25,
                output_price: 10.0,
                reason: "`OPENAI_API_KEY` is not set".into(),
                ..Model::default()
            },
            Model {
                name: "ollama/qwen3".into(),
                usable: true,
                ..Model::default()
            },
        ];
        insta::assert_snapshot!(rows(&models, "ollama/qwen3"), @r#"
           MODEL           WINDOW  IN     OUT
           openai/gpt-5.2  400k    $1.25  $10.00  not usable: `OPENAI_API_KEY` is not set
        *  ollama/qwen3    -       -      -
        "#);
        insta::assert_snapshot!(json(&models[1..], "ollama/qwen3"), @r#"{"name":"ollama/qwen3","default":true,"usable":true,"reason":"","context_window":0,"input_price":0.0,"cached_price":0.0,"output_price":0.0}"#);
    }
}
