/** Errors of the audit log and of the history of endpoints. Knows no HTTP shapes; `server/error-mapping.ts` turns the status into an answer. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

export const provenanceError: (
  code:
    | 'AUDIT_OPEN_FAILED'
    | 'AUDIT_WRITE_FAILED'
    | 'AUDIT_BACKLOG_FULL'
    | 'AUDIT_CLOSED'
    | 'HISTORY_OPEN_FAILED'
    | 'HISTORY_CHAIN_BROKEN'
    | 'HISTORY_WRITE_FAILED'
    | 'HISTORY_FOREIGN_WRITE',
  options?: ServingErrorOptions,
) => ServingError = defineErrors('provenance', {
  AUDIT_OPEN_FAILED: {
    status: 500,
    retryable: false,
    message:
      'the audit log needs a file it can append to, but opening {file} failed: {reason}; make the folder writable or name another with the audit settings',
  },
  AUDIT_WRITE_FAILED: {
    status: 503,
    retryable: true,
    message:
      'writing {numPending} audit records to {file} failed: {reason}; they are kept in memory and tried again, free space or repair the disk',
  },
  AUDIT_BACKLOG_FULL: {
    status: 503,
    retryable: true,
    message:
      'no new request is answered while {numPending} audit records wait to be written (at most {limit} may); the audit log cannot be written at present, see /health',
  },
  AUDIT_CLOSED: {
    status: 503,
    retryable: true,
    message: 'the audit log is closed, so the answer to this request could not be recorded',
  },
  HISTORY_OPEN_FAILED: {
    status: 500,
    retryable: false,
    message:
      'the history of endpoints needs a file it can read and append to, but opening {file} failed: {reason}; make the folder writable or name another with --home',
  },
  HISTORY_CHAIN_BROKEN: {
    status: 500,
    retryable: false,
    message:
      '{file}: expected each line to carry the digest of the one before it, but line {line} does not: {reason}. Somebody changed the history of endpoints; keep the file as evidence and put back a copy, or move it away to begin a new one without what was created over the API',
  },
  HISTORY_WRITE_FAILED: {
    status: 503,
    retryable: true,
    message:
      'nothing was changed, because the change could not be written to {file} first: {reason}; free space or repair the disk, then send it again',
  },
  HISTORY_FOREIGN_WRITE: {
    status: 503,
    retryable: false,
    message:
      'nothing was changed, because another process has written to {file}; let one server use a home folder, and start this one again',
  },
})
