/** Errors of the audit log. Knows no HTTP shapes; `server/error-mapping.ts` turns the status into an answer. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

export const provenanceError: (
  code: 'AUDIT_OPEN_FAILED' | 'AUDIT_WRITE_FAILED' | 'AUDIT_BACKLOG_FULL' | 'AUDIT_CLOSED',
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
})
