/** `ingot pull MODEL`: have the weights on this machine, verified. Prints where they are. */

import { loadConfig } from '../config/load-config.ts'
import { formatBytes } from '../config/option.ts'
import { flagsOf } from './config-flags.ts'
import { openModelAccess } from './model-access.ts'
import { abortOnSignal } from './signals.ts'

export async function pullModel(
  model: string | undefined,
  parsed: Readonly<Record<string, unknown>>,
): Promise<void> {
  const configFile = parsed.config as string | undefined
  const { config } = loadConfig({ configFile, flags: flagsOf(parsed) })
  const access = await openModelAccess(config.store)
  const { signal, stopListening } = abortOnSignal()
  try {
    const reference = access.reference(model ?? config.model.name)
    const stored = await access.fetch(reference, { signal, refresh: parsed.refresh === true })
    if (parsed.verify === true) await access.store.verify(stored, { signal })
    if (parsed.json === true) {
      process.stdout.write(`${JSON.stringify({ name: reference.name, ...stored }, null, 2)}\n`)
      return
    }
    const { path, digest, sizeBytes, source, revision } = stored
    const from = revision === null ? source : `${source} (${revision})`
    process.stdout.write(
      `${reference.name}: ${formatBytes(sizeBytes)}, sha256 ${digest}\n  from ${from}\n  at   ${path}\n`,
    )
  } finally {
    stopListening()
    await access.store.close()
  }
}
