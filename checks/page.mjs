#!/usr/bin/env node
// The server's pages in a real Chromium:
//
//     checks/page.mjs CURD_SERVER [SCREENSHOTS]
//
// The search while typing, keyboard, copying, a hostile project, a page without JavaScript, accessibility (axe) in
// light, dark and narrow. Screenshots go to the folder. Needs Debian's chromium (or CHROMIUM), python3, and
// `npm ci` in this folder; dials loopback only.
import assert from 'node:assert/strict';
import {spawn, spawnSync} from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import {fileURLToPath} from 'node:url';
import {chromium} from 'playwright-core';

const here = path.dirname(fileURLToPath(import.meta.url));
const [program, shots] = process.argv.slice(2);
if (!program) {
	console.error('usage: checks/page.mjs CURD_SERVER [SCREENSHOTS]');
	process.exit(2);
}
const axe = fs.readFileSync(path.join(here, 'node_modules/axe-core/axe.min.js'), 'utf8');
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'page-'));
const wheels = path.join(work, 'wheels');
const servers = [];

// serve starts a server and gives its address.
const serve = async (folder, ...options) => {
	const server = spawn(program, ['-H', '127.0.0.1', '-p', '0', ...options, folder], {stdio: ['ignore', 'pipe', 'inherit']});
	servers.push(server);
	for await (const line of readline.createInterface({input: server.stdout})) {
		const found = line.match(/ on (http:\/\/[^ ,]+)/);
		if (found) return found[1];
	}
	throw new Error('the server did not start');
};

// views are the ways of looking that everything must be fit for.
const views = {
	wide: {viewport: {width: 1280, height: 900}, colorScheme: 'light'},
	dark: {viewport: {width: 1280, height: 900}, colorScheme: 'dark'},
	narrow: {viewport: {width: 360, height: 740}, colorScheme: 'light', hasTouch: true, isMobile: true},
};

// open gives a page that notes what must not happen: dialogs, errors, requests elsewhere.
const open = async (browser, root, options = {}) => {
	const context = await browser.newContext({permissions: ['clipboard-read', 'clipboard-write'], ...views.wide, ...options});
	const page = await context.newPage();
	page.wrong = [];
	page.on('dialog', (dialog) => { page.wrong.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
	page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) page.wrong.push(`console: ${message.text()}`); });
	page.on('pageerror', (error) => page.wrong.push(`error: ${error}`));
	page.on('request', (request) => { if (!request.url().startsWith(root)) page.wrong.push(`asked ${request.url()}`); });
	return page;
};

const checks = {
	async 'search while typing'(browser, root) {
		const page = await open(browser, root);
		await page.goto(root);
		await page.keyboard.press('/');
		await page.keyboard.type('tide');
		await page.waitForSelector('#found [role=option]');
		assert.equal(await page.locator('#found [role=option]').first().locator('b').textContent(), 'tidewater');
		assert.equal(await page.getAttribute('input[name=q]', 'aria-expanded'), 'true');
		await page.keyboard.press('ArrowDown');
		assert.equal(await page.getAttribute('input[name=q]', 'aria-activedescendant'), 'found-0');
		await page.keyboard.press('Escape');
		assert.equal(await page.isVisible('#found'), false);
		await page.keyboard.type('w');
		await page.waitForSelector('#found [role=option]');
		await page.keyboard.press('ArrowUp');
		await page.keyboard.press('Enter');
		await page.waitForURL(`${root}/project/tidewater`);
		// From a deeper page, by what the summary says, and more than are listed.
		await page.goto(`${root}/project/tidewater/3.1`);
		await page.fill('input[name=q]', 'many small');
		await page.waitForSelector('text=110 more: press Enter');
		await page.keyboard.press('Enter');
		await page.waitForURL(`${root}/?q=many+small`);
		await page.getByRole('link', {name: 'Next'}).click();
		await page.waitForSelector('text=31 to 60 of 120');
		return page;
	},
	async 'keyboard'(browser, root) {
		const page = await open(browser, root);
		await page.goto(`${root}/project/gridwork`);
		await page.keyboard.press('Tab');
		assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
		assert.ok((await page.locator('.skip').boundingBox()).y >= 0, 'the skip link is seen when it has the focus');
		await page.keyboard.press('Enter');
		assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
		for (let i = 0; ; i++) { // to the first group of files, and open it
			assert.ok(i < 30, 'the files are reached by Tab');
			await page.keyboard.press('Tab');
			const focus = await page.evaluate(() => {
				const style = getComputedStyle(document.activeElement);
				return {name: document.activeElement.tagName, outline: style.outlineStyle};
			});
			assert.equal(focus.outline, 'solid', `the focus is seen on ${focus.name}`);
			if (focus.name === 'SUMMARY') break;
		}
		await page.keyboard.press('Enter');
		assert.ok(await page.isVisible('text=CPython 3.10, Linux x86-64, glibc 2.17 or newer'));
		return page;
	},
	async 'copying'(browser, root) {
		const page = await open(browser, root);
		await page.goto(`${root}/project/tidewater`);
		await page.getByRole('button', {name: 'Copy the command'}).nth(1).click();
		await page.waitForSelector('text=Copied');
		assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `pip install --index-url ${root}/simple/ tidewater==3.9`);
		await page.getByRole('button', {name: /^Copy the sha256 of tidewater-3.9/}).click();
		await page.waitForFunction(async () => /^[0-9a-f]{64}$/.test(await navigator.clipboard.readText()));
		// Over plain http a browser has no clipboard for pages.
		await page.addInitScript(() => Object.defineProperty(navigator, 'clipboard', {value: undefined, configurable: true}));
		await page.goto(root);
		await page.getByRole('button', {name: 'Copy the command'}).first().click();
		await page.waitForSelector('text=Copied');
		return page;
	},
	async 'a hostile project'(browser, root) {
		const page = await open(browser, root);
		for (const address of ['/project/hostile', '/?q=hostile', '/project/hostile/1.0+local.1']) {
			await page.goto(root + address);
			await page.waitForLoadState('networkidle');
			assert.ok(await page.isVisible('text=alert(\'summary\')'));
		}
		const links = await page.locator('a').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
		assert.deepEqual(links.filter((href) => /^\s*(javascript|data|vbscript):/i.test(href)), []);
		assert.equal(await page.locator('.readme :is(script, style, img, svg, iframe, form, input, link, base, [id], [class], [style], [onclick])').count(), 0);
		assert.ok(await page.isVisible('text=over everything'), 'text stays text');
		assert.ok(await page.isVisible('footer'), 'the page goes on after the description');
		await page.fill('input[name=q]', 'hostile');
		await page.waitForSelector('#found [role=option]');
		assert.match(await page.locator('#found .summary').textContent(), /<script>/);
		return page;
	},
	async 'without JavaScript'(browser, root) {
		const page = await open(browser, root, {javaScriptEnabled: false});
		await page.goto(root);
		await page.fill('input[name=q]', 'grid');
		await page.keyboard.press('Enter');
		await page.getByRole('link', {name: 'gridwork'}).click();
		await page.locator('summary', {hasText: 'Windows'}).click();
		assert.ok(await page.isVisible('text=CPython 3.13, free-threaded, Windows x86-64'));
		assert.equal(await page.locator('.copier').count(), 0);
		return page;
	},
};

// looked are the pages that are looked at.
const looked = {home: '/', search: '/?q=tide', project: '/project/tidewater', version: '/project/gridwork/3.2.1', hostile: '/project/hostile', error: '/project/none'};

const look = async (browser, root, view) => {
	const page = await open(browser, root, views[view]);
	for (const [name, address] of Object.entries(looked)) {
		const answer = await page.goto(root + address);
		if (name === 'error') {
			assert.equal(answer.status(), 404);
			page.wrong = page.wrong.filter((what) => !what.includes('404'));
		}
		if (name === 'version') await page.locator('summary').first().click();
		await audit(page, `${name}, ${view}`);
		if (shots) await page.screenshot({path: path.join(shots, `${name}-${view}.png`), fullPage: true});
		assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}, ${view}: wider than the screen`);
	}
	await page.goto(root);
	await page.fill('input[name=q]', 'pkg');
	await page.waitForSelector('#found [role=option]');
	await page.keyboard.press('ArrowDown');
	await audit(page, `searching, ${view}`);
	if (shots) await page.screenshot({path: path.join(shots, `searching-${view}.png`)});
	return page;
};

const audit = async (page, where) => {
	await page.evaluate(axe); // by the debugger: the page's own policy lets no script in
	const {violations} = await page.evaluate(() => globalThis.axe.run(document));
	const told = violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html}: ${n.failureSummary}`));
	assert.deepEqual(told, [], where);
};

let failed = 0;
const run = async (name, check) => {
	try {
		const page = await check();
		assert.deepEqual(page.wrong, []);
		await page.context().close();
		console.log(`ok    ${name}`);
	} catch (error) {
		failed++;
		console.log(`FAIL  ${name}\n${error.stack}`);
	}
};

let browser;
try {
	if (shots) fs.mkdirSync(shots, {recursive: true});
	assert.equal(spawnSync('python3', [path.join(here, 'wheels.py'), wheels], {stdio: 'inherit'}).status, 0);
	const root = await serve(wheels);
	browser = await chromium.launch({
		executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
		args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
	});
	for (const [name, check] of Object.entries(checks)) await run(name, () => check(browser, root));
	for (const view of Object.keys(views)) await run(`looks and accessibility, ${view}`, () => look(browser, root, view));

	fs.writeFileSync(path.join(work, 'users'), 'alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n');
	const locked = await serve(wheels, '-u', path.join(work, 'users'));
	await run('a password', async () => {
		const page = await open(browser, locked);
		// A browser shows this page once its question for the password was dismissed, which one without a head is not asked.
		await page.route(`${locked}/`, async (route) => {
			const answer = await fetch(locked, {headers: {accept: 'text/html'}});
			assert.equal(answer.status, 401);
			await route.fulfill({body: await answer.text(), headers: Object.fromEntries([...answer.headers].filter(([name]) => name !== 'www-authenticate'))});
		});
		await page.goto(locked);
		await audit(page, '401');
		if (shots) await page.screenshot({path: path.join(shots, 'password-wide.png')});
		assert.deepEqual(page.wrong, []);
		await page.context().close();
		const known = await open(browser, locked, {httpCredentials: {username: 'alice', password: 'secret'}});
		await known.goto(locked);
		assert.ok(await known.locator('text=USER:PASSWORD@127.0.0.1').first().isVisible());
		await known.fill('input[name=q]', 'tide');
		await known.waitForSelector('#found [role=option]');
		return known;
	});
} finally {
	await browser?.close();
	for (const server of servers) server.kill();
	fs.rmSync(work, {recursive: true, force: true});
}
process.exitCode = failed ? 1 : 0;
