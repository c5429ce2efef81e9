/** Binds the server's port and says what is wrong in words that help. */

import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { ListenConfig } from '../config/runtime-config.ts'
import { cliError } from './errors.ts'

/**
 * @returns the address with the real port, such as `http://127.0.0.1:8000`
 * @throws ServingError CLI_PORT_IN_USE, CLI_CANNOT_LISTEN
 */
export async function listen(
  server: Pick<FastifyInstance, 'listen' | 'server'>,
  { host, port }: Pick<ListenConfig, 'host' | 'port'>,
): Promise<string> {
  try {
    await server.listen({ host, port })
  } catch (cause) {
    const { code, message } = cause as { code?: string; message?: string }
    if (code === 'EADDRINUSE') {
      throw cliError('CLI_PORT_IN_USE', { param: '--port', details: { host, port }, cause })
    }
    const got = reasonFor(code) ?? message ?? String(cause)
    throw cliError('CLI_CANNOT_LISTEN', { param: '--host', details: { host, port, got }, cause })
  }
  const bound = server.server.address() as AddressInfo
  const name = host.includes(':') ? `[${host}]` : host
  return `http://${name}:${bound.port}`
}

function reasonFor(code: string | undefined): string | null {
  switch (code) {
    case 'EACCES':
      return 'no permission (ports below 1024 need it)'
    case 'EADDRNOTAVAIL':
      return 'no such address on this machine'
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'a host name that cannot be resolved'
    default:
      return null
  }
}
