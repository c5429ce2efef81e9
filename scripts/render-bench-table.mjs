/**
 * From records of benchmarks to the README's words: what stands between two marks is written from the record that the
 * first mark names, so a figure in the README is one of a record or it is not there. Pure.
 *
 *   <!-- bench: benchmarks/results/NAME.json -->
 *   … written by `npm run bench:table` …
 *   <!-- bench: end -->
 */

const BETWEEN = /(<!-- bench: (\S+\.json) -->\n)[\s\S]*?(<!-- bench: end -->)/g
const NAMES = {
  ingot: 'Ingot',
  openvino: 'OpenVINO GenAI',
}

/**
 * @param {string} text - with marks
 * @param {(path: string) => object} readRecord
 */
export function renderBenchTables(text, readRecord) {
  return text.replace(
    BETWEEN,
    (_, begin, path, end) => `${begin}${renderRecord(readRecord(path), path)}\n${end}`,
  )
}

/** @returns {string} */
export function renderRecord(record, path) {
  if (record.benchmark === 'http-goodput') return renderGoodput(record, path)
  if (record.benchmark === 'start-and-memory') return renderStart(record, path)
  return renderThroughput(record, path)
}

function renderThroughput(record, path) {
  const { machine, threads, model, systems, results } = record
  const names = systems.map(({ name }) => name)
  const trials = [...new Set(results.map(({ trial }) => trial))]
  const ratios = new Map((record.ratios ?? []).map((verdict) => [verdict.trial, verdict]))
  const withTargets = ratios.size > 0
  const rows = trials.map((trial) => {
    const there = results.filter((result) => result.trial === trial)
    const medians = names.map((name) => {
      return there.find(({ system }) => system === name)?.tokensPerSecond.median
    })
    const best = Math.max(...medians.map((median) => median ?? 0))
    const cells = medians.map((median) => {
      if (median === undefined) return '–'
      return median === best && names.length > 1 ? `**${thousands(median)}**` : thousands(median)
    })
    return [describeTrial(there[0]), ...cells, ...(withTargets ? [target(ratios.get(trial))] : [])]
  })
  const header = ['tokens/s', ...names.map(displayName), ...(withTargets ? ['target'] : [])]
  const about = `${model.id} (${model.quantization}), ${threads} threads of ${machine.cpu}, ${machine.date.slice(0, 10)}, commit ${machine.commit}; medians of one interleaved run; [record](${path})`
  return [
    about,
    '',
    tableRow(header),
    tableRow(header.map(() => '---')),
    ...rows.map(tableRow),
    ...notes(record),
  ].join('\n')
}

/** Shares of the machine's limits, and quality, when the record has them. */
function notes({ shares = [], quality }) {
  const lines = shares.map(({ trial, limit, measured, share, isMet }) => {
    const what = limit === 'memory' ? 'of the memory’s bandwidth' : 'of the int8 peak'
    return `- ${trial}: ${percent(measured)} ${what} (target ${percent(share)}, ${verdictOf(isMet)})`
  })
  if (quality !== undefined) {
    const of = ({ meanKl, topAgreement }) =>
      `mean KL ${meanKl.toFixed(4)}, same likeliest token ${(100 * topAgreement).toFixed(1)} %`
    const peer = quality.llamaCpp === null ? '' : `; llama.cpp ${of(quality.llamaCpp)}`
    lines.push(`- quality against f32 on the same weights: Ingot ${of(quality.ingot)}${peer}`)
  }
  return lines.length === 0 ? [] : ['', ...lines]
}

function renderGoodput(record, path) {
  const { systems, target, ratio, machine } = record
  const rates = systems.map(({ name, goodput }) => `${displayName(name)} ${goodput.toFixed(1)}`)
  const compared =
    ratio === null
      ? ''
      : ` (${ratio.toFixed(1)}×, target ${target.ratio}×, ${verdictOf(ratio >= target.ratio)})`
  return `Over HTTP, requests a second with 99 % of the first tokens within ${target.timeToFirstTokenMs} ms and 99 % of the gaps within ${target.interTokenMs} ms, Poisson arrivals of mixed lengths: ${rates.join(', ')}${compared}; ${machine.date.slice(0, 10)}, commit ${machine.commit}; [record](${path})`
}

function renderStart(record, path) {
  const { machine, model, verdicts } = record
  const lines = verdicts.map(({ what, measured, most, unit, isMet }) => {
    return `- ${what}: ${measured.toFixed(0)} ${unit} (target at most ${most.toFixed(0)} ${unit}, ${verdictOf(isMet)})`
  })
  const about = `${model.id}, ${machine.date.slice(0, 10)}, commit ${machine.commit}; [record](${path})`
  return [about, '', ...lines].join('\n')
}

function describeTrial({ trial, figure, numSeqs, promptTokens }) {
  if (figure === 'mixed') return trial
  if (figure === 'decode') {
    const context = promptTokens === 128 ? '' : ` at context ${thousands(promptTokens)}`
    return `decode, ${numSeqs} ${numSeqs === 1 ? 'sequence' : 'sequences'}${context}`
  }
  const many = numSeqs === 1 ? '' : `${numSeqs} × `
  return `prefill, ${many}${thousands(promptTokens)} tokens`
}

function target(verdict) {
  if (verdict === undefined) return ''
  const { measured, ratio, bestPeer, isMet } = verdict
  return `${measured.toFixed(2)}× ${displayName(bestPeer)}, target ${ratio}×: ${verdictOf(isMet)}`
}

function displayName(name) {
  return NAMES[name] ?? name
}

function verdictOf(isMet) {
  return isMet ? 'met' : 'missed'
}

function percent(share) {
  return `${(100 * share).toFixed(0)} %`
}

function thousands(value) {
  return Math.round(value).toLocaleString('en-US')
}

function tableRow(cells) {
  return `| ${cells.join(' | ')} |`
}
