export async function doctor(element) { element.textContent = 'soon'; }
