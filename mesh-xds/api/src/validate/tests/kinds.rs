//! Every kind of rule that protoc-gen-validate documents, also those that the API does not use today.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::FileDescriptorSet;
use serde_json::{Value, json};

use super::{check_with, compile, registry_of};
use crate::DESCRIPTOR_SET;

/// Whether a message with one field `f` of a type, under some rules, passes with a value.
fn passes(field: &Value, rules: &Value, value: &Value) -> bool {
    found(field, rules, value).is_empty()
}

fn found(field: &Value, rules: &Value, value: &Value) -> Vec<String> {
    let pool = pool_with(&single(field, rules));
    let message = pool.get_message_by_name("test.M").unwrap();
    let object = if value.is_null() { json!({}) } else { json!({"f": value}) };
    let bytes = DynamicMessage::deserialize(message, object).unwrap().encode_to_vec();
    check_with(registry_of(&pool), "test.M", &bytes)
}

/// The message types `M` with a field `f`.
fn single(field: &Value, rules: &Value) -> Value {
    let mut own = json!({"name": "f", "number": 1, "label": "LABEL_OPTIONAL", "options": {"[validate.rules]": rules}});
    own.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
    let entry = json!({"name": "FEntry", "options": {"map_entry": true}, "field": [
        {"name": "key", "number": 1, "label": "LABEL_OPTIONAL", "type": "TYPE_INT32"},
        {"name": "value", "number": 2, "label": "LABEL_OPTIONAL", "type": "TYPE_STRING"}]});
    let oneofs = if field.get("oneof_index").is_some() { json!([{"name": "_f"}]) } else { json!([]) };
    json!([{"name": "M", "field": [own], "nested_type": [entry], "oneof_decl": oneofs}])
}

/// Protobuf's own files, `validate.proto`, and a file with these message types.
fn pool_with(messages: &Value) -> DescriptorPool {
    let imports = ["any", "duration", "timestamp", "wrappers"].map(|f| format!("google/protobuf/{f}.proto"));
    let imports = [&["validate/validate.proto".to_owned()][..], &imports].concat();
    let file = json!({"name": "test.proto", "package": "test", "syntax": "proto3",
        "dependency": imports, "message_type": messages,
        "enum_type": [{"name": "E", "value": [{"name": "ZERO", "number": 0}, {"name": "TWO", "number": 2}]}]});
    let mut set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    set.file.retain(|f| f.name().starts_with("google/protobuf/") || f.name().starts_with("validate/"));
    let mut pool = DescriptorPool::from_file_descriptor_set(set).unwrap();
    let descriptor = pool.get_message_by_name("google.protobuf.FileDescriptorProto").unwrap();
    let file = DynamicMessage::deserialize(descriptor, file).unwrap();
    pool.decode_file_descriptor_proto(file.encode_to_vec().as_slice()).unwrap();
    pool
}

fn scalar(kind: &str) -> Value {
    json!({"type": format!("TYPE_{}", kind.to_uppercase())})
}

fn message(name: &str) -> Value {
    json!({"type": "TYPE_MESSAGE", "type_name": format!(".google.protobuf.{name}")})
}

fn list(kind: &str) -> Value {
    json!({"type": format!("TYPE_{}", kind.to_uppercase()), "label": "LABEL_REPEATED"})
}

/// Of one field: rules, values that pass, values that do not. `null` is a field that is not set.
fn table(field: &Value, rows: &[(Value, Value, Value)]) {
    for (rules, good, bad) in rows {
        for value in good.as_array().unwrap() {
            assert!(passes(field, rules, value), "{field} {rules} refuses {value}: {:?}", found(field, rules, value));
        }
        for value in bad.as_array().unwrap() {
            assert!(!passes(field, rules, value), "{field} {rules} takes {value}");
        }
    }
}

#[test]
fn numbers() {
    for kind in ["int32", "int64", "sint32", "sint64", "sfixed32", "sfixed64", "float", "double"] {
        table(
            &scalar(kind),
            &[
                (json!({kind: {"const": 3}}), json!([3]), json!([2, null])),
                (json!({kind: {"gt": -1, "lt": 3}}), json!([null, 2]), json!([-1, 3])),
                (json!({kind: {"gte": -1, "lte": 3}}), json!([-1, 3]), json!([-2, 4])),
                // Crossed ends mean outside.
                (json!({kind: {"gt": 5, "lt": -5}}), json!([6, -6]), json!([5, -5, null])),
                (json!({kind: {"gte": 5, "lte": -5}}), json!([5, -5]), json!([4, -4])),
                (json!({kind: {"gt": 5, "lt": 5}}), json!([4, 6]), json!([5])),
                (json!({kind: {"in": [1, 2]}}), json!([1, 2]), json!([3, null])),
                (json!({kind: {"not_in": [0, 2]}}), json!([1]), json!([2, null])),
                (json!({kind: {"gt": 5, "ignore_empty": true}}), json!([null, 0, 6]), json!([5])),
            ],
        );
    }
    for kind in ["uint32", "uint64", "fixed32", "fixed64"] {
        table(
            &scalar(kind),
            &[(json!({kind: {"gt": 1, "lte": 4_294_967_295_u32}}), json!([2, 4_294_967_295_u32]), json!([1]))],
        );
    }
    table(
        &scalar("uint64"),
        &[(json!({"uint64": {"gt": "9223372036854775808"}}), json!(["18446744073709551615"]), json!([5]))],
    );
    // It is neither above nor below.
    table(&scalar("double"), &[(json!({"double": {"gt": 0, "lt": 5}}), json!(["NaN", 1]), json!(["Infinity"]))]);
}

#[test]
fn booleans_and_enums() {
    table(&scalar("bool"), &[(json!({"bool": {"const": true}}), json!([true]), json!([false, null]))]);
    let field = json!({"type": "TYPE_ENUM", "type_name": ".test.E"});
    table(
        &field,
        &[
            (json!({"enum": {"defined_only": true}}), json!(["TWO", null]), json!([1])),
            (json!({"enum": {"defined_only": false}}), json!([1]), json!([])),
            (json!({"enum": {"const": 2}}), json!(["TWO"]), json!([null])),
            (json!({"enum": {"in": [2]}}), json!(["TWO"]), json!([null, 1])),
            (json!({"enum": {"not_in": [0]}}), json!(["TWO"]), json!([null, "ZERO"])),
        ],
    );
}

#[test]
fn texts() {
    table(
        &scalar("string"),
        &[
            (json!({"string": {"const": "a"}}), json!(["a"]), json!(["b", null])),
            (json!({"string": {"len": 2}}), json!(["ab", "éé"]), json!(["a", "abc"])),
            (json!({"string": {"min_len": 2, "max_len": 3}}), json!(["éé", "abc"]), json!(["é", "abcd", null])),
            (json!({"string": {"len_bytes": 2}}), json!(["ab", "é"]), json!(["a", "éé"])),
            (json!({"string": {"min_bytes": 2, "max_bytes": 3}}), json!(["é", "abc"]), json!(["a", "éé"])),
            (json!({"string": {"pattern": "a|b+"}}), json!(["a", "bb"]), json!(["ab", "", "a\n"])),
            (json!({"string": {"prefix": "ab"}}), json!(["ab", "abc"]), json!(["a", "cab"])),
            (json!({"string": {"suffix": "ab"}}), json!(["cab"]), json!(["abc"])),
            (json!({"string": {"contains": "ab"}}), json!(["cabc"]), json!(["acb", null])),
            (json!({"string": {"not_contains": "ab"}}), json!(["acb", null]), json!(["cabc"])),
            (json!({"string": {"in": ["a", ""]}}), json!(["a", null]), json!(["b"])),
            (json!({"string": {"not_in": ["a"]}}), json!(["b", null]), json!(["a"])),
            (json!({"string": {"min_len": 2, "ignore_empty": true}}), json!(["ab", "", null]), json!(["a"])),
            (json!({"string": {"email": true}}), json!(["a@b.example"]), json!(["a", null])),
            (json!({"string": {"hostname": true}}), json!(["b.example"]), json!(["a_b", null])),
            (json!({"string": {"ip": true}}), json!(["::1", "1.2.3.4"]), json!(["a"])),
            (json!({"string": {"ipv4": true}}), json!(["1.2.3.4"]), json!(["::1"])),
            (json!({"string": {"ipv6": true}}), json!(["::1"]), json!(["1.2.3.4"])),
            (json!({"string": {"address": true}}), json!(["::1", "a"]), json!(["a b"])),
            (json!({"string": {"uri": true}}), json!(["http://a"]), json!(["/a"])),
            (json!({"string": {"uri_ref": true}}), json!(["/a"]), json!(["a b"])),
            (json!({"string": {"uuid": true}}), json!(["123e4567-e89b-12d3-a456-426614174000"]), json!(["1"])),
            (json!({"string": {"ip": false}}), json!(["a"]), json!([])),
            (json!({"string": {"well_known_regex": 1}}), json!([":a", "b"]), json!(["a b", "", "a\n"])),
            (json!({"string": {"well_known_regex": 2}}), json!(["a b", ""]), json!(["a\u{1}", "a\n"])),
            (json!({"string": {"well_known_regex": 1, "strict": false}}), json!(["a b", ""]), json!(["a\n"])),
        ],
    );
}

#[test]
fn bytes() {
    let text = |t: &str| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, t);
    table(
        &scalar("bytes"),
        &[
            (json!({"bytes": {"const": text("a")}}), json!([text("a")]), json!([text("b"), null])),
            (json!({"bytes": {"len": 2}}), json!([text("é")]), json!([text("a")])),
            (json!({"bytes": {"min_len": 2, "max_len": 3}}), json!([text("ab")]), json!([text("a"), text("abcd")])),
            (json!({"bytes": {"prefix": text("a")}}), json!([text("ab")]), json!([text("b")])),
            (json!({"bytes": {"suffix": text("b")}}), json!([text("ab")]), json!([text("ba")])),
            (json!({"bytes": {"contains": text("b")}}), json!([text("abc")]), json!([text("ac")])),
            (json!({"bytes": {"in": [text("a")]}}), json!([text("a")]), json!([null])),
            (json!({"bytes": {"not_in": [text("a")]}}), json!([null]), json!([text("a")])),
            (json!({"bytes": {"ip": true}}), json!([text("abcd")]), json!([text("abc")])),
        ],
    );
}

#[test]
fn well_known_types() {
    table(
        &message("UInt32Value"),
        &[
            (json!({"uint32": {"gt": 1}}), json!([2, null]), json!([0, 1])),
            (json!({"uint32": {"gt": 1, "ignore_empty": true}}), json!([0, null]), json!([1])),
            (json!({"message": {"required": true}}), json!([0]), json!([null])),
            (json!({"message": {"required": true}, "uint32": {"gt": 1}}), json!([2]), json!([null, 0])),
        ],
    );
    table(&message("StringValue"), &[(json!({"string": {"min_len": 1}}), json!([null, "a"]), json!([""]))]);
    table(
        &message("Duration"),
        &[
            (json!({"duration": {"required": true}}), json!(["0s"]), json!([null])),
            (json!({"duration": {"const": "1.5s"}}), json!(["1.5s", null]), json!(["1s"])),
            (json!({"duration": {"gt": "0s", "lt": "1s"}}), json!(["0.5s", null]), json!(["0s", "1s", "-1s"])),
            (json!({"duration": {"gte": "0.001s", "lte": "0s"}}), json!(["0s", "0.001s"]), json!(["0.0005s"])),
            (json!({"duration": {"in": ["1s"]}}), json!(["1s"]), json!(["2s"])),
            (json!({"duration": {"not_in": ["1s"]}}), json!(["2s"]), json!(["1s"])),
        ],
    );
    let (early, late) = ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z");
    table(
        &message("Timestamp"),
        &[
            (json!({"timestamp": {"required": true}}), json!([early]), json!([null])),
            (json!({"timestamp": {"const": early}}), json!([early, null]), json!([late])),
            (json!({"timestamp": {"gt": early}}), json!([late, null]), json!([early])),
            (json!({"timestamp": {"lt": late}}), json!([early]), json!([late])),
        ],
    );
    let any = |name: &str, value: Value| json!({"@type": format!("type.googleapis.com/google.protobuf.{name}"), "value": value});
    let (empty, other) = (any("Empty", json!({})), any("Duration", json!("1s")));
    let url = "type.googleapis.com/google.protobuf.Empty";
    table(
        &message("Any"),
        &[
            (json!({"any": {"required": true}}), json!([empty]), json!([null])),
            (json!({"any": {"in": [url]}}), json!([empty, null]), json!([other])),
            (json!({"any": {"not_in": [url]}}), json!([other, null]), json!([empty])),
        ],
    );
}

#[test]
fn lists_and_maps() {
    table(
        &list("string"),
        &[
            (json!({"repeated": {"min_items": 1, "max_items": 2}}), json!([["a"]]), json!([null, ["a", "b", "c"]])),
            (json!({"repeated": {"min_items": 2, "ignore_empty": true}}), json!([null, ["a", "b"]]), json!([["a"]])),
            (json!({"repeated": {"unique": true}}), json!([["a", "b"], null]), json!([["a", "b", "a"]])),
            (json!({"repeated": {"items": {"string": {"min_len": 1}}}}), json!([["a"], null]), json!([["a", ""]])),
        ],
    );
    table(&list("int32"), &[(json!({"repeated": {"unique": true}}), json!([[1, 2]]), json!([[1, 1]]))]);
    let map = json!({"type": "TYPE_MESSAGE", "type_name": ".test.M.FEntry", "label": "LABEL_REPEATED"});
    table(
        &map,
        &[
            (
                json!({"map": {"min_pairs": 1, "max_pairs": 1}}),
                json!([{"1": "a"}]),
                json!([null, {"1": "a", "2": "b"}]),
            ),
            (json!({"map": {"min_pairs": 2, "ignore_empty": true}}), json!([null]), json!([{"1": "a"}])),
            (json!({"map": {"keys": {"int32": {"gt": 1}}}}), json!([{"2": "a"}]), json!([{"1": "a"}])),
            (json!({"map": {"values": {"string": {"min_len": 1}}}}), json!([{"1": "a"}, null]), json!([{"1": ""}])),
        ],
    );
    let rules = json!({"map": {"keys": {"int32": {"gt": 1}}, "values": {"string": {"min_len": 1}}}});
    assert_eq!(found(&map, &rules, &json!({"-1": ""})), ["f[-1] map.keys.int32.gt", "f[-1] map.values.string.min_len"]);
}

#[test]
fn a_field_that_may_be_unset_has_rules_only_where_it_is_set() {
    let field = json!({"type": "TYPE_STRING", "proto3_optional": true, "oneof_index": 0});
    table(&field, &[(json!({"string": {"min_len": 1}}), json!([null, "a"]), json!([""]))]);
    let field = json!({"type": "TYPE_STRING", "oneof_index": 0});
    table(&field, &[(json!({"string": {"min_len": 1}}), json!([null, "a"]), json!([""]))]);
}

#[test]
fn exemptions() {
    let inner = |options: Value| {
        let field = json!({"name": "f", "number": 1, "label": "LABEL_OPTIONAL", "type": "TYPE_STRING",
            "options": {"[validate.rules]": {"string": {"min_len": 1}}}});
        json!({"name": "Inner", "field": [field], "options": options})
    };
    let outer = |rules: Value| {
        let field = json!({"name": "i", "number": 1, "label": "LABEL_OPTIONAL", "type": "TYPE_MESSAGE",
            "type_name": ".test.Inner", "options": {"[validate.rules]": {"message": rules}}});
        json!({"name": "Outer", "field": [field]})
    };
    let check = |messages: Value, bytes: &[u8]| check_with(registry_of(&pool_with(&messages)), "test.Outer", bytes);
    let empty_inner = [10, 0];
    assert_eq!(check(json!([inner(json!({})), outer(json!({}))]), &empty_inner), ["i.f string.min_len"]);
    assert_eq!(check(json!([inner(json!({})), outer(json!({"skip": true}))]), &empty_inner), [] as [&str; 0]);
    for exempt in ["disabled", "ignored"] {
        let options = json!({format!("[validate.{exempt}]"): true});
        let messages = json!([inner(options), outer(json!({"required": true}))]);
        assert_eq!(check(messages.clone(), &empty_inner), [] as [&str; 0]);
        assert_eq!(check(messages, &[]), ["i message.required"]);
    }
}

#[test]
fn a_oneof_that_is_required() {
    let member = |name: &str, number| {
        json!({"name": name, "number": number, "label": "LABEL_OPTIONAL",
        "type": "TYPE_STRING", "oneof_index": 0})
    };
    let oneof = json!({"name": "which", "options": {"[validate.required]": true}});
    let pool = pool_with(&json!([{"name": "M", "field": [member("a", 1), member("b", 2)], "oneof_decl": [oneof]}]));
    let registry = registry_of(&pool);
    assert_eq!(check_with(registry, "test.M", &[]), ["which oneof.required"]);
    assert_eq!(check_with(registry, "test.M", &[18, 0]), [] as [&str; 0]);
}

#[test]
fn a_rule_that_is_not_known_is_named() {
    // Rules about the present time: no type of the API states one.
    let messages = single(&message("Timestamp"), &json!({"timestamp": {"lt_now": true, "within": "1s"}}));
    let (_, unknown) = compile::registry(&pool_with(&messages));
    assert_eq!(unknown, ["test.M.f: timestamp.lt_now", "test.M.f: timestamp.within"]);
    let (_, unknown) = compile::registry(&pool_with(&single(&scalar("string"), &json!({"string": {"pattern": "("}}))));
    assert_eq!(unknown, ["test.M.f: string.pattern"]);
}
