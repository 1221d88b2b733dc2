use serde_json::Value as Json;

use super::{FormatError, Formatter, LogContext, Missing, value::Value};

/// A compiled JSON object whose strings hold command operators.
///
/// A string that is one operator and nothing else gives a value of the operator's type (number, string, object; `null` if
/// missing), as Envoy's `json_format` does. Keys come out sorted.
#[derive(Clone, Debug)]
pub struct JsonFormatter(Node);

#[derive(Clone, Debug)]
enum Node {
    Constant(Json),
    Format(Formatter),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl JsonFormatter {
    /// Compiles `template`.
    ///
    /// # Errors
    /// [`FormatError`] for whatever is not carried.
    pub fn compile(template: &Json) -> Result<Self, FormatError> {
        compile(template).map(Self)
    }

    /// Appends the JSON for `cx` to `out`, without a newline.
    pub fn render(&self, cx: &LogContext<'_>, out: &mut String) {
        render(&self.0, cx, out);
    }
}

fn compile(template: &Json) -> Result<Node, FormatError> {
    Ok(match template {
        Json::String(text) => Node::Format(Formatter::compile(text, Missing::Dash)?),
        Json::Array(items) => Node::List(items.iter().map(compile).collect::<Result<_, _>>()?),
        Json::Object(fields) => {
            let mut nodes = fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), compile(value)?)))
                .collect::<Result<Vec<_>, FormatError>>()?;
            nodes.sort_by(|a, b| a.0.cmp(&b.0));
            Node::Object(nodes)
        }
        other => Node::Constant(super::value::plain(other)),
    })
}

fn render(node: &Node, cx: &LogContext<'_>, out: &mut String) {
    match node {
        Node::Constant(value) => out.push_str(&value.to_string()),
        Node::Format(formatter) => match formatter.single(cx) {
            Some(Value::None) => out.push_str("null"),
            Some(Value::Number(number)) => out.push_str(&number.to_string()),
            Some(Value::Json(value)) => out.push_str(&value.to_string()),
            Some(Value::Text(text)) => push_string(&text, out),
            None => push_string(&formatter.format(cx), out),
        },
        Node::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                render(item, cx, out);
            }
            out.push(']');
        }
        Node::Object(fields) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_string(key, out);
                out.push(':');
                render(value, cx, out);
            }
            out.push('}');
        }
    }
}

fn push_string(text: &str, out: &mut String) {
    // A string always serialises.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
