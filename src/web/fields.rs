//! The body of a request as named fields, whether it came as JSON or as a form, and typed access that names the field
//! in every complaint. Called by the pages; knows no object.

use serde_json::{Map, Value};

use super::error::Fault;
use crate::model::FieldError;
use crate::model::port::PortWish;
use crate::model::time::Timestamp;

/// The fields of a body.
#[derive(Debug, Clone)]
pub enum Fields {
    /// A JSON object.
    Json(Map<String, Value>),
    /// A form; names may repeat.
    Form(Vec<(String, String)>),
}

impl Fields {
    /// Reads a JSON body; an empty one has no fields.
    pub fn from_json(body: &[u8]) -> Result<Self, Fault> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::Json(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self::Json(map)),
            Ok(_) => Err(Fault::bad_request("the body must be a JSON object")),
            Err(error) => Err(Fault::bad_request(format!("the body is not JSON: {error}"))),
        }
    }

    /// Reads a form or a query string; bytes that are no UTF-8 are replaced.
    pub fn from_form(body: &[u8]) -> Self {
        Self::Form(form_urlencoded::parse(body).into_owned().collect())
    }

    /// Whether the body was JSON.
    pub fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// The text of a form field as it was typed, for filling the form in again.
    pub fn typed(&self, name: &str) -> Option<&str> {
        match self {
            Self::Json(map) => map.get(name).and_then(Value::as_str),
            Self::Form(pairs) => pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()),
        }
    }

    /// Whether the field is there at all (`null` counts as absent).
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Json(map) => map.get(name).is_some_and(|value| !value.is_null()),
            Self::Form(pairs) => pairs.iter().any(|(key, _)| key == name),
        }
    }

    fn json(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Json(map) => map.get(name).filter(|value| !value.is_null()),
            Self::Form(_) => None,
        }
    }

    /// A text that may be absent.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        match self {
            Self::Form(_) => Ok(self.typed(name).map(str::to_owned)),
            Self::Json(_) => match self.json(name) {
                None => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.clone())),
                Some(_) => Err(FieldError::new(name, "must be a string")),
            },
        }
    }

    /// A text that must be there.
    pub fn required_text(&self, name: &'static str) -> Result<String, FieldError> {
        self.text(name)?.ok_or_else(|| FieldError::new(name, "is missing"))
    }

    /// A whole number that may be absent; an empty form field is absent.
    pub fn number(&self, name: &'static str) -> Result<Option<u64>, FieldError> {
        let wrong = || FieldError::new(name, "must be a whole number");
        match self {
            Self::Form(_) => match self.typed(name).map(str::trim) {
                None | Some("") => Ok(None),
                Some(text) => text.parse().map(Some).map_err(|_| wrong()),
            },
            Self::Json(_) => match self.json(name) {
                None => Ok(None),
                Some(value) => value.as_u64().map(Some).ok_or_else(wrong),
            },
        }
    }

    /// A whole number that must be there.
    pub fn required_number(&self, name: &'static str) -> Result<u64, FieldError> {
        self.number(name)?.ok_or_else(|| FieldError::new(name, "is missing"))
    }

    /// Yes or no, where it is said; a form says it by `true`, `on`, `1` and their opposites.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, FieldError> {
        let wrong = || FieldError::new(name, "must be true or false");
        match self {
            Self::Form(pairs) => match pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
            {
                None => Ok(None),
                Some("true" | "on" | "1") => Ok(Some(true)),
                Some("false" | "off" | "0" | "") => Ok(Some(false)),
                Some(_) => Err(wrong()),
            },
            Self::Json(_) => match self.json(name) {
                None => Ok(None),
                Some(value) => value.as_bool().map(Some).ok_or_else(wrong),
            },
        }
    }

    /// A list of lines that may be absent: a JSON list, or a form field with one entry a line (or a JSON list in it).
    pub fn lines(&self, name: &'static str) -> Result<Option<Vec<String>>, FieldError> {
        match self {
            Self::Form(_) => {
                let Some(text) = self.typed(name) else { return Ok(None) };
                if let Some(list) = json_list(text) {
                    return strings(name, &list).map(Some);
                }
                Ok(Some(split_lines(text)))
            }
            Self::Json(_) => match self.json(name) {
                None => Ok(None),
                Some(Value::Array(list)) => strings(name, list).map(Some),
                Some(_) => Err(FieldError::new(name, "must be a list of strings")),
            },
        }
    }

    /// A list of identifiers that may be absent: a JSON list of numbers, or a form field repeated. Empty form fields
    /// are skipped: a row of the form that chooses nothing.
    pub fn ids(&self, name: &'static str) -> Result<Option<Vec<u64>>, FieldError> {
        let wrong = || FieldError::new(name, "must be a list of whole numbers");
        match self {
            Self::Form(pairs) => {
                let mut found = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.trim()).peekable();
                if found.peek().is_none() {
                    return Ok(None);
                }
                let mut ids = Vec::new();
                for text in found.filter(|text| !text.is_empty()) {
                    if let Some(list) = json_list(text) {
                        for value in &list {
                            ids.push(value.as_u64().ok_or_else(wrong)?);
                        }
                    } else {
                        for part in text.split_whitespace() {
                            ids.push(part.parse().map_err(|_| wrong())?);
                        }
                    }
                }
                Ok(Some(ids))
            }
            Self::Json(_) => match self.json(name) {
                None => Ok(None),
                Some(Value::Array(list)) => {
                    list.iter().map(|value| value.as_u64().ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
                }
                Some(_) => Err(wrong()),
            },
        }
    }

    /// The port of a server: a number, `"auto"`, or absent.
    pub fn port(&self, name: &'static str) -> Result<Option<PortWish>, FieldError> {
        let wrong = || FieldError::new(name, "must be a number from 1024 to 65535, or auto");
        match self {
            Self::Form(_) => self.typed(name).map(PortWish::parse).transpose(),
            Self::Json(_) => match self.json(name) {
                None => Ok(None),
                Some(Value::String(text)) => PortWish::parse(text).map(Some),
                Some(Value::Number(number)) => {
                    number.as_i64().ok_or_else(wrong).and_then(PortWish::from_number).map(Some)
                }
                Some(_) => Err(wrong()),
            },
        }
    }

    /// A time in RFC 3339 that may be absent. Browsers send `datetime-local` without an offset: it is taken as UTC.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, FieldError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        Timestamp::parse(text)
            .or_else(|| Timestamp::parse(&format!("{text}Z")))
            .or_else(|| Timestamp::parse(&format!("{text}:00Z")))
            .map(Some)
            .ok_or_else(|| FieldError::new(name, "must be a time such as 2026-11-21T10:00:00Z"))
    }
}

/// The form field of a list that a program filled in as JSON.
fn json_list(text: &str) -> Option<Vec<Value>> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str::<Vec<Value>>(text).ok()
}

fn strings(name: &'static str, list: &[Value]) -> Result<Vec<String>, FieldError> {
    list.iter()
        .map(|value| {
            value.as_str().map(str::to_owned).ok_or_else(|| FieldError::new(name, "must be a list of strings"))
        })
        .collect()
}

/// One entry a line; browsers send CR LF. Empty lines at the end are no entries.
fn split_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Fields {
        Fields::from_form(text.as_bytes())
    }

    fn json(text: &str) -> Fields {
        Fields::from_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_list_field_of_a_form_is_one_entry_a_line_or_a_json_list() {
        let expected = Some(vec!["a b".to_owned(), "c".to_owned()]);
        assert_eq!(form("arguments=a+b%0D%0Ac%0D%0A").lines("arguments").unwrap(), expected);
        assert_eq!(form("arguments=%5B%22a%20b%22,%22c%22%5D").lines("arguments").unwrap(), expected);
        assert_eq!(json(r#"{"arguments":["a b","c"]}"#).lines("arguments").unwrap(), expected);
    }

    #[test]
    fn repeated_ids_keep_their_order_and_empty_rows_are_skipped() {
        assert_eq!(form("overlay_ids=3&overlay_ids=&overlay_ids=1").ids("overlay_ids").unwrap(), Some(vec![3, 1]));
        assert_eq!(form("overlay_ids=").ids("overlay_ids").unwrap(), Some(vec![]));
        assert_eq!(form("name=x").ids("overlay_ids").unwrap(), None);
        assert_eq!(json(r#"{"overlay_ids":[3,1]}"#).ids("overlay_ids").unwrap(), Some(vec![3, 1]));
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        assert_eq!(json(r#"{"name":5}"#).text("name").unwrap_err().field, "name");
        assert_eq!(json(r#"{"blueprint_id":"x"}"#).number("blueprint_id").unwrap_err().field, "blueprint_id");
        assert_eq!(json(r#"{"overlay_ids":[-1]}"#).ids("overlay_ids").unwrap_err().field, "overlay_ids");
        assert_eq!(json(r#"{"port":80}"#).port("port").unwrap_err().field, "port");
        assert_eq!(json(r#"{"port":1e99}"#).port("port").unwrap_err().field, "port");
        assert_eq!(json(r#"{"port":true}"#).port("port").unwrap_err().field, "port");
    }

    #[test]
    fn null_is_absent() {
        assert_eq!(json(r#"{"port":null}"#).port("port").unwrap(), None);
        assert!(!json(r#"{"name":null}"#).has("name"));
    }

    #[test]
    fn a_local_time_of_a_browser_is_read_as_utc() {
        let time = form("expires_at=2026-11-21T10:00").time("expires_at").unwrap().unwrap();
        assert_eq!(time, json(r#"{"expires_at":"2026-11-21T11:00:00+01:00"}"#).time("expires_at").unwrap().unwrap());
        assert!(form("expires_at=tomorrow").time("expires_at").is_err());
    }
}
