//! Events as the canonical JSON of protobuf, and back.

use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};
use quire_proto::v1::{Event, FILE_DESCRIPTOR_SET};
use serde_json::value::RawValue;

/// Knows the schema. Takes a millisecond to make, and a few hundred kilobytes while it lives.
#[derive(Debug)]
pub(super) struct EventJson(MessageDescriptor);

impl EventJson {
    pub(super) fn new() -> Self {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)
            .expect("the schema was compiled with this program");
        let event = pool.get_message_by_name("quire.v1.Event");
        Self(event.expect("the schema has events"))
    }

    /// Adds an event's text to `into`.
    pub(super) fn write(&self, event: &Event, into: &mut Vec<u8>) -> Result<(), String> {
        let mut message = DynamicMessage::new(self.0.clone());
        message
            .transcode_from(event)
            .map_err(|error| error.to_string())?;
        serde_json::to_writer(into, &message).map_err(|error| error.to_string())
    }

    /// The event that `text` tells, and whether all of it was understood.
    pub(super) fn read(&self, text: &RawValue) -> Result<(Event, bool), String> {
        match self.parse(text, true) {
            Ok(event) => Ok((event, true)),
            Err(_not_all_known) => Ok((self.parse(text, false)?, false)),
        }
    }

    fn parse(&self, text: &RawValue, strict: bool) -> Result<Event, String> {
        let options = DeserializeOptions::new().deny_unknown_fields(strict);
        let mut source = serde_json::Deserializer::from_str(text.get());
        let message =
            DynamicMessage::deserialize_with_options(self.0.clone(), &mut source, &options)
                .map_err(|error| error.to_string())?;
        message.transcode_to().map_err(|error| error.to_string())
    }
}
