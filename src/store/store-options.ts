/**
 * Everything the store needs to know of its surroundings, read from an environment that is handed in.
 *
 *   pip's own settings                      index, proxy, certificate (pip-config.ts)
 *   HF_ENDPOINT, HF_TOKEN                   hub and its token
 *   HTTPS_PROXY, HTTP_PROXY, NO_PROXY       either case
 *   NODE_EXTRA_CA_CERTS                     kept when pip names a certificate, because Node then forgets it
 *
 * Reads neither `process.env` nor files by itself.
 */

import { rootCertificates } from 'node:tls'
import { systemClock } from '../base/clock.ts'
import { storeError } from './errors.ts'
import type { StoreOptions } from './model-store.ts'
import { type ReadTextFile, readPipConfig } from './pypi/pip-config.ts'

export interface StoreSurroundings {
  /** Folder of the store. */
  readonly root: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly readFile: ReadTextFile
}

/** Never throws: what is wrong with a setting is said when it is needed. */
export function readStoreOptions({ root, env, readFile }: StoreSurroundings): StoreOptions {
  const pip = readPipConfig(env, readFile)
  const variable = (name: string) => env[name.toLowerCase()] || env[name] || undefined
  function certificates(): readonly string[] {
    if (pip.certificateFile === null) return []
    const ofPip = readCertificates(pip.certificateFile, 'pip’s cert', readFile)
    const extraFile = env.NODE_EXTRA_CA_CERTS
    const extra = extraFile ? [readCertificates(extraFile, 'NODE_EXTRA_CA_CERTS', readFile)] : []
    return [...rootCertificates, ofPip, ...extra]
  }
  return {
    root,
    pip,
    hub: { endpoint: env.HF_ENDPOINT || undefined, token: env.HF_TOKEN || undefined },
    http: {
      certificates,
      httpProxy: pip.proxy ?? variable('HTTP_PROXY'),
      httpsProxy: pip.proxy ?? variable('HTTPS_PROXY'),
      noProxy: variable('NO_PROXY'),
      trustedHosts: pip.trustedHosts,
    },
    clock: systemClock,
  }
}

/** @throws ServingError STORE_BAD_CERTIFICATE_FILE */
function readCertificates(file: string, origin: string, readFile: ReadTextFile): string {
  const text = readFile(file)
  if (text?.includes('-----BEGIN CERTIFICATE-----')) return text
  const got = text === undefined ? 'nothing that can be read' : 'no certificate'
  throw storeError('STORE_BAD_CERTIFICATE_FILE', { details: { file, origin, got } })
}
