import { existsSync } from 'node:fs';
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

/** Where Debian, other distributions and Google put it; scripts/test.sh sees to it that there is one. */
const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export type BrowserLogin = { username: string; password: string };

export type Opened = {
  page: Page;
  /** Errors in the console. */
  complaints: string[];
  /** Requests to anywhere but the server that the page is from. */
  outside: string[];
};

export type TestBrowser = {
  /** A page of its own: it shares neither login nor storage with others. */
  open(options?: BrowserContextOptions): Promise<Opened>;
  /** Closes every page that is open. */
  closePages(): Promise<void>;
  close(): Promise<void>;
};

/** Starts a headless browser. */
export async function launchBrowser(): Promise<TestBrowser> {
  const browser = await chromium.launch({
    executablePath: PROGRAMS.find((path) => existsSync(path)) ?? '',
    args: FLAGS,
  });
  const contexts: BrowserContext[] = [];
  return {
    async open(options = {}) {
      const context = await browser.newContext(options);
      contexts.push(context);
      const page = await context.newPage();
      const complaints: string[] = [];
      const outside: string[] = [];
      page.on('console', (message) => {
        if (message.type() === 'error') complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('request', (request) => {
        const { protocol, hostname, origin } = new URL(request.url());
        if (!/^(http|ws)/.test(protocol)) return;
        const isOurs = request.isNavigationRequest() ? hostname === '127.0.0.1' : origin === new URL(page.url()).origin;
        if (!isOurs) outside.push(request.url());
      });
      return { page, complaints, outside };
    },
    async closePages() {
      await Promise.all(contexts.splice(0).map((context) => context.close()));
    },
    close: () => browser.close(),
  };
}
