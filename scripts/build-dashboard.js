// Builds the dashboard with vite: src/dashboard to dist/ui.
import { join } from 'node:path'

/** Functions of uPlot that the dashboard never calls, by what they are for. */
const UNUSED_FUNCTIONS = [
  // Formats of dates, which the dashboard has itself.
  ...['fmtDate', 'timeAxisStamps', 'timeAxisVals', 'timeSeriesStamp'],
  // Logarithmic axes.
  ...['rangeLog', 'logAxisSplits', 'asinhAxisSplits', 'log10AxisValsFilt', 'log2AxisValsFilt'],
  // Ranges that follow from the data, gaps in it, and bands between series.
  ...['rangeNum', 'findGaps', 'clipGaps', 'clipBandLine'],
  // Points of series and of the cursor.
  ...['points', 'seriesPointsShow', 'cursorPointShow', 'elSize', 'elColor'],
  // Series that are hidden or have the focus.
  ...['setSeries', 'setFocus'],
]

/**
 * Parts of uPlot that the dashboard does not use, with their replacement. Why: they are 5 of the 45 kB that all files of the
 * dashboard may have. The build fails if an update of uPlot has changed them.
 */
const UPLOT_OMISSIONS = [
  ...UNUSED_FUNCTIONS.map(name => [
    new RegExp(`^(\\t*)function ${name}\\([^]*?\\n\\1\\}\\n`, 'm'),
    `$1function ${name}() {}\n`,
  ]),
  [/uPlot\.assign = assign;[\s\S]*?(?=export \{)/, 'uPlot.paths = { bars };\n'],
  ['const showLegend = legend.show;', 'const showLegend = false;'],
]

const smallerUplot = {
  name: 'smaller-uplot',
  transform(code, id) {
    if (!id.endsWith('uPlot.esm.js')) return
    return UPLOT_OMISSIONS.reduce((text, [part, replacement]) => {
      const shorter = text.replace(part, replacement)
      if (shorter === text) this.error(`uPlot has no ${part}: change UPLOT_OMISSIONS`)
      return shorter
    }, code)
  },
}

/** Builds the files of the dashboard below `root`. */
export async function buildDashboard(root, source, output) {
  // Vite reads it when it is loaded, and builds for development in a test run otherwise.
  process.env.NODE_ENV = 'production'
  const { build } = await import('vite')
  await build({
    root: join(root, source),
    configFile: false,
    logLevel: 'warn',
    plugins: [smallerUplot],
    // Relative, so that it works under any base path of a proxy.
    base: './',
    // Smaller than calls of the runtime of JSX.
    oxc: {
      jsx: { runtime: 'classic', pragma: 'h', pragmaFrag: 'Fragment' },
      jsxInject: "import { Fragment, h } from 'preact'",
    },
    build: {
      outDir: join(root, output),
      emptyOutDir: true,
      target: ['es2023', 'chrome123', 'firefox120', 'safari17.5'],
      modulePreload: false,
      // The content security policy allows files only.
      assetsInlineLimit: 0,
    },
  })
}
