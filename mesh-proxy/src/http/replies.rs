//! Rewriting answers of the proxy itself (`local_reply_config`).

use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};

use super::{edits, stream::Stream, target};
use crate::{
    access_log::{AccessLogError, Line, LogContext, LogFilter},
    filter::LocalReply,
    model::{AccessLogFormat, HeaderEdit, LocalReplies, ReplyFormat},
};

/// [`LocalReplies`], with formats compiled.
#[derive(Debug)]
pub(super) struct Replies {
    mappers: Vec<Mapper>,
    format: Option<Format>,
}

#[derive(Debug)]
struct Mapper {
    filter: LogFilter,
    status: Option<StatusCode>,
    body: Option<bytes::Bytes>,
    headers: Vec<HeaderEdit>,
    format: Option<Format>,
}

#[derive(Debug)]
struct Format {
    line: Line,
    content_type: HeaderValue,
}

impl Format {
    fn compile(format: &ReplyFormat) -> Result<Self, AccessLogError> {
        let json = matches!(format.format, AccessLogFormat::Json(_));
        let usual = HeaderValue::from_static(if json { "application/json" } else { "text/plain" });
        let content_type = format.content_type.clone().unwrap_or(usual);
        Ok(Self { line: Line::compile(&format.format)?, content_type })
    }
}

impl Replies {
    /// # Errors
    /// A format or filter that the configuration should have refused.
    pub(super) fn compile(replies: &LocalReplies) -> Result<Self, AccessLogError> {
        let mappers = replies.mappers.iter().map(|m| {
            Ok(Mapper {
                filter: LogFilter::compile(&m.filter)?,
                status: m.status,
                body: m.body.clone(),
                headers: m.headers.clone(),
                format: m.format.as_ref().map(Format::compile).transpose()?,
            })
        });
        Ok(Self {
            mappers: mappers.collect::<Result<_, AccessLogError>>()?,
            format: replies.format.as_ref().map(Format::compile).transpose()?,
        })
    }

    /// Makes of `reply` what the first mapper that matches says, then the common format. The stream knows its status, flags
    /// and details already.
    pub(super) fn rewrite(&self, reply: &mut LocalReply, stream: &mut Stream) {
        let mapper = self.mappers.iter().find(|mapper| mapper.filter.admits(&context(stream)));
        if let Some(mapper) = mapper {
            let worker = stream.chain.worker.clone();
            let values = edits::values(&mapper.headers, &context(stream), &worker);
            edits::set(&mut reply.headers, values);
            if let Some(status) = mapper.status {
                reply.status = status;
                stream.info.status = Some(status.as_u16());
            }
            if let Some(body) = &mapper.body {
                reply.body = body.clone();
                stream.info.local_reply_body = Some(body.clone());
            }
        }
        let Some(format) = mapper.and_then(|m| m.format.as_ref()).or(self.format.as_ref()) else { return };
        let mut text = String::new();
        format.line.render(&context(stream), &mut text);
        reply.body = text.into();
        reply.headers.insert(CONTENT_TYPE, format.content_type.clone());
    }
}

fn context(stream: &Stream) -> LogContext<'_> {
    LogContext { info: &stream.info, request: Some(target::view(&stream.request)), response: None, trailers: None }
}
