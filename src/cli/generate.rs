//! `left4me completions SHELL` and `left4me man`: made from the parser itself, for the packages.

use std::io::Write;

use anyhow::Result;

/// Prints completions for a shell.
pub fn completions(mut command: clap::Command, shell: clap_complete::Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "left4me", &mut text);
    Ok(std::io::stdout().write_all(&text)?)
}

/// Prints one manual page for all commands.
pub fn man(command: clap::Command) -> Result<()> {
    let mut text = Vec::new();
    let mut command = command;
    command.build();
    clap_mangen::Man::new(command.clone()).render(&mut text)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let page = clap_mangen::Man::new(sub.clone());
        writeln!(text, ".SH \"COMMAND {}\"", sub.get_name().to_uppercase())?;
        page.render_synopsis_section(&mut body(&mut text))?;
        page.render_description_section(&mut body(&mut text))?;
        page.render_options_section(&mut body(&mut text))?;
    }
    writeln!(
        text,
        ".SH FILES\n.TP\n.I /etc/left4me/config.yaml\nConfiguration; it names every key with its default.\n.TP\n.I \
         /var/lib/left4me\nEverything that is kept.\n.SH \"EXIT STATUS\"\n0 done, 1 failed, 2 wrong usage or configuration."
    )?;
    Ok(std::io::stdout().write_all(&text)?)
}

/// Turns the sections of a command into subsections of the page.
fn body(text: &mut Vec<u8>) -> impl Write {
    struct Sections<'a>(&'a mut Vec<u8>, Vec<u8>);
    impl Write for Sections<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Drop for Sections<'_> {
        fn drop(&mut self) {
            let section = String::from_utf8_lossy(&self.1).replace(".SH ", ".SS ");
            self.0.extend_from_slice(section.as_bytes());
        }
    }
    Sections(text, Vec::new())
}
