export async function authorities(element) { element.textContent = 'soon'; }
