/** Whom this room refuses. Until accounts exist that is only who may administer the server. */

import { defineErrors, type ServingError, type ServingErrorOptions } from '../base/errors.ts'

const table = {
  ACCOUNTS_ADMIN_TOKEN: {
    status: 401,
    retryable: false,
    message:
      'expected the server’s admin token as Authorization: Bearer TOKEN, got {got}; the token is the server’s setting INGOT_ADMIN_TOKEN (server.adminToken)',
  },
  ACCOUNTS_ADMIN_NOT_LOCAL: {
    status: 403,
    retryable: false,
    message:
      'this route administers the server, and while no admin token is set only programs on the same machine may use it, but the request {got}; set INGOT_ADMIN_TOKEN (server.adminToken) on the server and send it as Authorization: Bearer TOKEN',
  },
} as const

export const accountsError: (
  code: keyof typeof table,
  options?: ServingErrorOptions,
) => ServingError = defineErrors('accounts', table)
