use prost_reflect::{DynamicMessage, Value};

use super::{Operand, Subject};

/// What a rule compares with, and how it is written for people. `None` if it cannot be compared.
pub(super) fn operand(value: &Value, subject: &Subject) -> Option<(Operand<'static>, String)> {
    let integer = |i: i128| Some((Operand::Integer(i), integer_text(i, subject)));
    match value {
        Value::Bool(b) => Some((Operand::Integer((*b).into()), b.to_string())),
        Value::I32(i) | Value::EnumNumber(i) => integer((*i).into()),
        Value::I64(i) => integer((*i).into()),
        Value::U32(i) => integer((*i).into()),
        Value::U64(i) => integer((*i).into()),
        Value::F32(f) => Some((Operand::Float((*f).into()), f.to_string())),
        Value::F64(f) => Some((Operand::Float(*f), f.to_string())),
        Value::String(text) => Some((Operand::Text(text.clone().into()), format!("{text:?}"))),
        Value::Bytes(bytes) => Some((Operand::Bytes(bytes.to_vec().into()), format!("{bytes:?}"))),
        Value::Message(time) => time_operand(time),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// A list of them.
pub(super) fn operands(value: &Value, subject: &Subject) -> Option<(Vec<Operand<'static>>, String)> {
    let list: Option<Vec<_>> = value.as_list()?.iter().map(|v| operand(v, subject)).collect();
    let (operands, texts): (Vec<_>, Vec<_>) = list?.into_iter().unzip();
    Some((operands, texts.join(", ")))
}

/// Values of enums by their name.
fn integer_text(integer: i128, subject: &Subject) -> String {
    let Subject::Enum(descriptor) = subject else { return integer.to_string() };
    let value = i32::try_from(integer).ok().and_then(|number| descriptor.get_value(number));
    value.map_or_else(|| integer.to_string(), |v| v.name().to_owned())
}

/// Durations and timestamps, in seconds for people.
fn time_operand(time: &DynamicMessage) -> Option<(Operand<'static>, String)> {
    let seconds = time.get_field_by_name("seconds")?.as_i64()?;
    let nanos = time.get_field_by_name("nanos")?.as_i32()?;
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, rest) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    let fraction = format!(".{rest:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    Some((Operand::Integer(total), format!("{sign}{whole}{fraction}s")))
}
