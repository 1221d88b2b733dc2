use super::{AccessLogError, LogContext};
use crate::{
    filter::ResponseFlags,
    model::{AccessLogFilter, Comparison, HeaderMatcher},
};

/// [`AccessLogFilter`], with the flags looked up.
#[derive(Debug)]
pub(crate) enum LogFilter {
    Status(Comparison, u32),
    DurationMillis(Comparison, u32),
    All,
    Header(HeaderMatcher),
    AnyFlag,
    Flags(Vec<ResponseFlags>),
    And(Vec<LogFilter>),
    Or(Vec<LogFilter>),
}

impl LogFilter {
    pub(crate) fn compile(filter: &AccessLogFilter) -> Result<Self, AccessLogError> {
        let each = |filters: &[AccessLogFilter]| filters.iter().map(Self::compile).collect::<Result<Vec<_>, _>>();
        Ok(match filter {
            AccessLogFilter::Status(op, value) => LogFilter::Status(*op, *value),
            AccessLogFilter::DurationMillis(op, value) => LogFilter::DurationMillis(*op, *value),
            // Only the health check filter marks such requests, and that filter is not carried: none is one.
            AccessLogFilter::NotHealthCheck => LogFilter::All,
            AccessLogFilter::Header(matcher) => LogFilter::Header(matcher.clone()),
            AccessLogFilter::ResponseFlags(names) if names.is_empty() => LogFilter::AnyFlag,
            AccessLogFilter::ResponseFlags(names) => LogFilter::Flags(
                names
                    .iter()
                    .map(|name| {
                        ResponseFlags::from_short(name).ok_or_else(|| AccessLogError::UnknownFlag(name.clone()))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            AccessLogFilter::And(filters) => LogFilter::And(each(filters)?),
            AccessLogFilter::Or(filters) => LogFilter::Or(each(filters)?),
        })
    }

    /// Whether the stream is one of those.
    pub(crate) fn admits(&self, cx: &LogContext<'_>) -> bool {
        let info = cx.info;
        match self {
            LogFilter::Status(op, value) => op.holds(u32::from(info.status.unwrap_or(0)), *value),
            LogFilter::DurationMillis(op, value) => {
                info.timings.duration().is_some_and(|duration| op.holds(duration.as_millis(), u128::from(*value)))
            }
            LogFilter::All => true,
            LogFilter::Header(matcher) => cx.request.as_ref().is_some_and(|request| matcher.matches(request)),
            LogFilter::AnyFlag => !info.flags.is_empty(),
            LogFilter::Flags(flags) => flags.iter().any(|flag| info.flags.contains(*flag)),
            LogFilter::And(filters) => filters.iter().all(|filter| filter.admits(cx)),
            LogFilter::Or(filters) => filters.iter().any(|filter| filter.admits(cx)),
        }
    }
}
