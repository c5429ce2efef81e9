/** Writes blocks to a disk cache for ever, so that it can be killed in the middle. Argument: the folder. */

import { systemClock } from '../../src/base/clock.ts'
import { DiskTier } from '../../src/execution/kv-disk/disk-tier.ts'
import { openKvFiles } from '../../src/execution/kv-disk/kv-files.ts'
import { configurationFolder } from '../../src/execution/kv-disk/kv-name.ts'
import { chain, contentOf } from './disk-tier-stage.ts'

const [folder = '', blockBytes = ''] = process.argv.slice(2)
const tier = await DiskTier.open({
  files: openKvFiles(folder),
  limitBytes: 2 ** 33,
  blockBytes: Number(blockBytes),
  configuration: configurationFolder({ model: 'm' }),
  clock: systemClock,
  onWarning: (message) => process.stderr.write(`${message}\n`),
})
for (let text = 0; ; text++) {
  await tier.hasRoom()
  const [key] = chain(tier, 1, { text })
  if (key !== undefined) tier.save(key, (into) => into.set(contentOf(text, into.length)))
  if (text > 0) process.stdout.write('.')
}
