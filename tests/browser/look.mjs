// Opens one HTML report in a headless Chromium and prints what it found as JSON on stdout.
//   node look.mjs --chromium PATH --profile DIR --report FILE [--shots DIR]
// The exit status is 0 whenever the page could be looked at; the Python test judges the findings.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const { values: options } = parseArgs({
  options: {
    chromium: { type: "string" },
    profile: { type: "string" },
    report: { type: "string" },
    shots: { type: "string" },
  },
});
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const address = pathToFileURL(options.report).href;
const flags = [
  "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
if (options.shots) mkdirSync(options.shots, { recursive: true });

async function visit(name, settings) {
  const { scripts = true, audit = false, pdf = false, ...page_settings } = settings;
  const context = await chromium.launchPersistentContext(join(options.profile, name), {
    executablePath: options.chromium, headless: true, chromiumSandbox: false, args: flags,
    javaScriptEnabled: scripts, ...page_settings,
  });
  try {
    const page = context.pages()[0] ?? (await context.newPage());
    const requests = [], messages = [];
    page.on("request", (request) => requests.push(request.url()));
    page.on("console", (message) => messages.push(message.text()));
    page.on("pageerror", (error) => messages.push(String(error)));
    await page.goto(address);
    const main = page.locator("main");
    const first = page.locator(".answers li").first();
    const start = (await first.count()) ? await first.boundingBox() : await page.locator("h1").boundingBox();
    const found = {
      name,
      headline: await page.locator("h1").isVisible(),
      heading: await page.locator("h1").innerText(),
      headings: await page.locator("h1").count(),
      // How far the first arm's answer starts below the first screen, in CSS pixels.
      answersBelow: start.y - page_settings.viewport.height,
      text: (await main.innerText()).length,
      tables: await page.locator("table").count(),
      figures: await page.locator("svg[role=img]:visible").count(),
    };
    if (scripts) {
      found.overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      await page.keyboard.press("Tab");
      found.firstFocus = await page.evaluate(() => document.activeElement.className);
      await page.evaluate(() => document.activeElement.blur());
    }
    if (audit) {
      await page.evaluate(axeSource);
      const result = await page.evaluate(() => axe.run(document));
      found.passes = result.passes.length;
      found.violations = result.violations.map((each) => ({
        id: each.id, help: each.help, nodes: each.nodes.slice(0, 5).map((node) => node.html.slice(0, 200)),
      }));
    }
    if (options.shots) {
      await page.screenshot({ path: join(options.shots, `${name}.png`), fullPage: true });
      await page.screenshot({ path: join(options.shots, `${name}-first.png`) });
      if (pdf) await page.pdf({ path: join(options.shots, `${name}.pdf`), format: "A4", margin: { top: "14mm", bottom: "14mm", left: "14mm", right: "14mm" } });
    }
    // Last, so that what the page asks for late counts too.
    return { ...found, messages, requests: requests.filter((url) => url !== address && !url.startsWith("data:")) };
  } finally {
    await context.close();
  }
}

const desktop = { width: 1280, height: 860 };
const visits = {
  light: { viewport: desktop, colorScheme: "light", audit: true, pdf: true },
  dark: { viewport: desktop, colorScheme: "dark", audit: true },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: "light", audit: true },
  tiny: { viewport: { width: 360, height: 740 }, colorScheme: "dark", audit: true },
  "no-script": { viewport: desktop, colorScheme: "light", scripts: false },
};
const findings = [];
for (const [name, settings] of Object.entries(visits)) findings.push(await visit(name, settings));
process.stdout.write(JSON.stringify(findings) + "\n");
