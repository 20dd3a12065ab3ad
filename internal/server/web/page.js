// What the page can do with JavaScript: search while typing, copy, "/" to search.
// Without it everything can be read, and the search works as a form.
'use strict';

const make = (name, attributes, ...inside) => {
	const element = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
	element.append(...inside);
	return element;
};

// Readers of screens are told what changed.
const status = make('p', {role: 'status', class: 'hidden'});
document.body.append(status);

// copyText also works where the page came over plain http, which browsers do not trust with the clipboard.
const copyText = async (text) => {
	if (navigator.clipboard) return navigator.clipboard.writeText(text);
	const area = make('textarea', {class: 'hidden', readonly: ''});
	area.value = text;
	document.body.append(area);
	area.select();
	const copied = document.execCommand('copy');
	area.remove();
	if (!copied) throw new Error('not copied');
};

for (const source of document.querySelectorAll('.copy')) {
	const text = source.textContent;
	const button = make('button', {type: 'button', class: 'copier', 'aria-label': `Copy ${source.dataset.what || 'the command'}`}, 'Copy');
	button.addEventListener('click', async () => {
		let said = 'Copied';
		try {
			await copyText(text);
		} catch {
			said = 'Failed';
		}
		button.textContent = status.textContent = said;
		button.focus();
		setTimeout(() => { button.textContent = 'Copy'; }, 1500);
	});
	if (source.tagName === 'PRE') {
		const box = make('div', {class: 'line'});
		source.replaceWith(box);
		box.append(source, button);
	} else {
		source.after(' ', button);
	}
}

const form = document.querySelector('form.search');
if (form) {
	const input = form.elements.q;
	const list = make('div', {id: 'found', role: 'listbox', 'aria-label': 'Projects found', hidden: ''});
	form.append(list);
	for (const [key, value] of Object.entries({role: 'combobox', 'aria-expanded': 'false', 'aria-controls': 'found', 'aria-autocomplete': 'list'})) {
		input.setAttribute(key, value);
	}
	const root = form.getAttribute('action');
	let chosen = -1, timer, asked;

	const choose = (index) => {
		const options = list.querySelectorAll('[role=option]');
		chosen = options.length ? (index + options.length + 1) % (options.length + 1) : -1;
		if (chosen === options.length) chosen = -1;
		options.forEach((option, i) => option.setAttribute('aria-selected', String(i === chosen)));
		if (chosen < 0) return input.removeAttribute('aria-activedescendant');
		input.setAttribute('aria-activedescendant', options[chosen].id);
		options[chosen].scrollIntoView({block: 'nearest'});
	};

	const close = () => {
		clearTimeout(timer);
		asked?.abort();
		list.hidden = true;
		input.setAttribute('aria-expanded', 'false');
		choose(-1);
	};

	const show = ({total, projects}) => {
		list.replaceChildren(...projects.map((project, i) => make('a', {
			role: 'option', id: `found-${i}`, tabindex: '-1', 'aria-selected': 'false', href: `${root}project/${encodeURIComponent(project.name)}`,
		}, make('b', {}, project.name), ' ', make('span', {class: 'version'}, project.version), ' ', make('span', {class: 'summary'}, project.summary))));
		if (total > projects.length) {
			list.append(make('p', {class: 'quiet', role: 'presentation'}, `${total - projects.length} more: press Enter`));
		}
		list.hidden = projects.length === 0;
		input.setAttribute('aria-expanded', String(!list.hidden));
		status.textContent = total === 1 ? '1 project found' : `${total} projects found`;
		choose(-1);
	};

	const search = async () => {
		asked?.abort();
		const query = input.value.trim();
		if (!query) return close();
		asked = new AbortController();
		try {
			const answer = await fetch(`${root}search?q=${encodeURIComponent(query)}`, {signal: asked.signal});
			if (answer.ok) show(await answer.json());
		} catch {
			// A newer search took its place, or the server is gone: the form still works.
		}
	};

	input.addEventListener('input', () => {
		clearTimeout(timer);
		timer = setTimeout(search, 100);
	});
	input.addEventListener('keydown', (event) => {
		if (list.hidden) return;
		if (event.key === 'ArrowDown') choose(chosen + 1);
		else if (event.key === 'ArrowUp') choose(chosen < 0 ? -2 : chosen - 1);
		else if (event.key === 'Escape') close();
		else if (event.key === 'Enter' && chosen >= 0) list.querySelectorAll('[role=option]')[chosen].click();
		else return;
		event.preventDefault();
	});
	form.addEventListener('focusout', (event) => {
		if (!form.contains(event.relatedTarget)) close();
	});
	document.addEventListener('keydown', (event) => {
		if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, textarea, select')) return;
		event.preventDefault();
		input.focus();
		input.select();
	});
}
